"""The comparison command, as a user runs it."""

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

SMALL = """
from configs import mixer_digits

def get_config(arg=""):
    config = mixer_digits.get_config()
    config.model.num_blocks = 1
    config.train.duration = "6 steps"
    config.train.global_batch_size = 32
    config.schedule.warmup = "2 steps"
    config.evaluation.every = "6 steps"
    config.log.every = "2 steps"
    if arg == "hot":
        config.schedule.peak_learning_rate = 1e30
    return config
"""


@pytest.fixture
def compare(data_dir, tmp_path):
    (tmp_path / "small.py").write_text(SMALL)

    def compare(*args):
        done = subprocess.run(
            [sys.executable, ROOT / "launch" / "compare.py", *args, "--workdir=compared"],
            cwd=tmp_path,
            env=os.environ | {"TFDS_DATA_DIR": data_dir, "JAX_PLATFORMS": "cpu"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert "Traceback" not in done.stdout + done.stderr
        return done

    return compare


@pytest.mark.slow
def test_a_run_that_fails_stops_no_other_and_is_all_that_is_tried_again(compare, tmp_path):
    first = compare("small.py", "small.py:hot")
    assert first.returncode == 1, first.stderr
    assert "run 1 of 2: small\n" in first.stdout and "run 2 of 2: small_hot\n" in first.stdout
    table = (tmp_path / "compared" / "comparison.md").read_text()
    assert table in first.stdout
    top1 = json.loads((tmp_path / "compared" / "small" / "as_it_is" / "results.json").read_text())[
        "test/top1"
    ]
    assert f"| small | test/top1 {100 * top1:.2f} %" in table
    assert "| small_hot |  | 1 x cpu |" in table and "the loss is" in table
    again = compare("small.py", "small.py:hot")
    assert again.returncode == 1
    assert "run 1 of 2: small (finished before)\n" in again.stdout
    assert "run 2 of 2: small_hot\n" in again.stdout


def test_a_dry_run_checks_and_trains_nothing(compare, tmp_path):
    done = compare("small.py", "small.py:hot", "--grid=seed=0,1", "--dry_run")
    assert done.returncode == 0, done.stderr
    assert "Dry run: 4 runs, 4 of them to train" in done.stdout
    assert [file.name for file in (tmp_path / "compared").iterdir()] == [".lock"]


@pytest.mark.parametrize(
    "files, message",
    [
        ([], "name config files, such as configs/mixer_digits.py."),
        (
            ["small.py", "small.py"],
            "two of the files have the name, and so the folder, small; copy one",
        ),
        (["absent.py"], "error: absent.py: "),
        (["broken.py"], "broken.py, line 1: NameError: name 'nothing' is not defined"),
    ],
)
def test_a_mistake_ends_in_a_sentence_and_a_status(files, message, compare, tmp_path):
    (tmp_path / "broken.py").write_text("nothing\n")
    done = compare(*files)
    assert done.returncode == 2 and message in done.stderr
    assert not (tmp_path / "compared").exists()
