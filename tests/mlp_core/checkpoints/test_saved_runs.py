import pickle
import shutil

import numpy as np
import pytest

from configs import run_fields
from mlp_core.checkpoints.saved_runs import open_saved_run
from mlp_core.config import RunConfig, parse_config
from mlp_core.errors import UserError
from mlp_core.runs.run import run_task
from tests.mlp_core.train.quadratic import Quadratic

TASKS = ["quadratic"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run with checkpoints of steps 2 and 4."""
    workdir = tmp_path_factory.mktemp("run")
    config = run_fields.new_config("quadratic", best_metric="test/top1")
    config.train.duration = "4 steps"
    config.train.global_batch_size = config.evaluation.global_batch_size = 8
    config.checkpoint.every = "2 steps"
    run_task(Quadratic(), parse_config(RunConfig, config), config, workdir, {}, "")
    return workdir


def test_a_folder_means_its_newest_checkpoint_and_a_checkpoint_itself(run):
    newest, early = (open_saved_run(p, TASKS) for p in (run, run / "checkpoints" / "2"))
    assert (newest.workdir, newest.step, early.workdir, early.step) == (run, 4, run, 2)
    assert early.checkpoint == run / "checkpoints" / "2" and early.origin == f"run {run}, step 2"
    assert newest.params.shapes == {"layer/kernel": (3,)}
    kernels = [saved.params.read()["layer/kernel"] for saved in (newest, early)]
    assert not np.array_equal(*kernels)


def test_a_damaged_checkpoint_is_told_and_the_one_before_it_taken(run, tmp_path, capsys):
    copy = shutil.copytree(run, tmp_path / "copy")
    for file in (copy / "checkpoints" / "4" / "state").rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    assert open_saved_run(copy, TASKS).step == 2
    assert "checkpoints/4: no whole checkpoint" in capsys.readouterr().out


def test_a_run_of_another_task_and_a_folder_that_is_none_are_refused(run, tmp_path):
    with pytest.raises(UserError, match="a run of quadratic; chess or masked_lm is needed here"):
        open_saved_run(run, ["chess", "masked_lm"])
    with pytest.raises(UserError, match="neither the folder of a run with checkpoints in it, nor"):
        open_saved_run(tmp_path, TASKS)


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("pytorch_model.bin", pickle.dumps({}), "'pytorch_model.bin' in it is a pickle"),
        ("w.npz", b"PK", "'w.npz' in it is an npz file: name that file"),
        ("notes.txt", b"x", "nor one with model.safetensors.$"),
    ],
)
def test_a_folder_without_a_run_is_told_with_the_weights_in_it(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=words):
        open_saved_run(tmp_path, ["image_classification"])
