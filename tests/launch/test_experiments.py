import subprocess
import sys

import pytest
from ml_collections import ConfigDict

from configs import mixer_digits
from launch.experiments import experiment_of, module_of
from mlp_core.errors import UserError
from mlp_vision.tasks import experiment
from mlp_vision.tools import scoring
from tests.conftest import ROOT


def test_a_task_leads_to_its_package():
    config = mixer_digits.get_config()
    assert experiment_of(config) is experiment
    assert module_of(config, "tools.scoring") is scoring


@pytest.mark.parametrize("config", [ConfigDict({"task": "chess"}), ConfigDict({"seed": 0})])
def test_another_task_is_refused_with_those_there_are(config):
    with pytest.raises(
        UserError, match="config.task: .*image_classification, text_clas.*masked_lm"
    ):
        experiment_of(config)


@pytest.mark.parametrize("args", [["features", "--weights=x"], ["show_batch"]])
def test_commands_for_images_refuse_text_in_a_sentence(args, tmp_path):
    command = [sys.executable, f"launch/{args[0]}.py", *args[1:], f"--output={tmp_path / 'x'}"]
    experiment_on_text = ["--config=configs/mixer_digits.py", "--config.task=masked_lm"]
    run = subprocess.run(
        command + experiment_on_text, cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 2 and "Traceback" not in run.stderr
    assert f"launch/{args[0]}.py is for experiments on images" in run.stderr
    assert "masked_lm" in run.stderr
