"""The sweep command, as a user runs it: members fail, are interrupted, are added."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from mlp_core.run_folder.metrics import read_metrics
from tests.conftest import HEAR_CTRL_C, ROOT

HELD_OUT = """
from ml_collections import ConfigDict
from configs import mixer_digits

def get_config(arg=""):
    config = mixer_digits.get_config(arg)
    config.model.num_blocks = 1
    config.data.train_split = "train[:80%]"
    config.data.eval_splits = ConfigDict({"validation": "train[80%:]", "test": "test"})
    config.train.duration = "30 steps"
    config.train.global_batch_size = 32
    config.schedule.warmup = "5 steps"
    config.evaluation.every = "10 steps"
    config.evaluation.best_metric = "validation/top1"
    config.checkpoint.every = "5 steps"
    config.log.every = "5 steps"
    config.sweep.train_split = "train"
    return config
"""
# The command, and then a look at whether it has kept its hands off the devices.
SWEEP = """
import sys
from launch import command, sweep
try:
    command.run_command(sweep.main)
finally:
    from jax._src import xla_bridge
    assert not xla_bridge._backends
"""
FIELD = "schedule.peak_learning_rate"


@pytest.fixture(scope="module")
def start(data_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "held_out.py").write_text(HELD_OUT)
    environment = os.environ | {"TFDS_DATA_DIR": data_dir, "JAX_PLATFORMS": "cpu"}

    def start(*args):
        config = f"--config={folder / 'held_out.py'}"
        return subprocess.Popen(
            [
                sys.executable,
                "-c",
                HEAR_CTRL_C + SWEEP,
                config,
                f"--workdir={folder / 'sweep'}",
                *args,
            ],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    start.workdir = folder / "sweep"
    return start


def end(process):
    stdout, stderr = process.communicate(timeout=300)
    return process.returncode, stdout, stderr


@pytest.mark.slow
def test_a_sweep_fails_in_part_is_interrupted_goes_on_and_changes_its_mind(start):
    # 1e-9 learns nothing and 1e30 is not finite.
    workdir = start.workdir
    status, stdout, stderr = end(start(f"--grid={FIELD}=1e-9,1e30"))
    assert status == 1, stderr
    assert "Traceback" not in stdout + stderr
    for text in (f"member 1 of 2: {FIELD}=1e-09", f"member 2 of 2: {FIELD}=1e+30", "step 30/30",
                 "failed: step 2", f"final run, on train: {FIELD}=1e-09"):  # fmt: skip
        assert text in stdout, text
    table = (workdir / "sweep.md").read_text()
    assert "| 1e-09 |" in table and "**best**" in table and "| 1e+30 |  | step 2: the loss" in table
    assert table in stdout
    assert (workdir / "sweep.png").read_bytes().startswith(b"\x89PNG")
    member = workdir / f"{FIELD}=1e-09"
    assert json.loads((member / "results.json").read_text())["validation/top1"] < 0.2
    final = json.loads((workdir / "best" / "config.json").read_text())
    assert final["schedule"]["peak_learning_rate"] == 1e-9
    last = read_metrics(workdir / "best" / "metrics.jsonl")[-1]
    assert last["step"] == 30 and not any(name.startswith("validation/") for name in last)
    assert f"test/top1 {100 * last['test/top1']:.2f} %" in table

    before = (member / "metrics.jsonl").stat().st_mtime_ns
    added = workdir / f"{FIELD}=0.02"
    process = start(f"--grid={FIELD}=1e-9,2e-2")
    deadline = time.time() + 120
    while not read_metrics(added / "metrics.jsonl") and time.time() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    status, stdout, stderr = end(process)
    assert status == 130
    # Libraries may warn besides, the oldest JAX of programs in its own cache.
    assert [line for line in stderr.splitlines() if line.startswith("interrupted")]
    assert "Traceback" not in stderr
    assert f"member 1 of 2: {FIELD}=1e-09 (finished before)" in stdout
    assert not (added / "results.json").exists()

    status, stdout, stderr = end(start(f"--grid={FIELD}=1e-9,2e-2"))
    assert status == 0, stderr
    assert "The final run is another one now" in stdout
    final = json.loads((workdir / "best" / "config.json").read_text())
    assert final["schedule"]["peak_learning_rate"] == 0.02
    former = json.loads((workdir / "best_before_1" / "config.json").read_text())
    assert former["schedule"]["peak_learning_rate"] == 1e-9
    table = (workdir / "sweep.md").read_text()
    assert "| 0.02 |" in table and "| 1e+30 |  | not finished |" in table

    status, stdout, stderr = end(start(f"--grid={FIELD}=1e-9,2e-2"))
    assert status == 0, stderr
    assert stdout.count("(finished before)") == 3 and "Start:" not in stdout
    assert (member / "metrics.jsonl").stat().st_mtime_ns == before


def test_a_dry_run_checks_and_trains_nothing(start, tmp_path):
    status, stdout, stderr = end(
        start(
            "--grid=seed=1,2", "--grid=model.num_blocks=1,2", "--dry_run", f"--workdir={tmp_path}"
        )
    )
    assert status == 0, stderr
    assert "Dry run: 4 members, 4 of them to train" in stdout
    assert [file.name for file in tmp_path.iterdir()] == [".lock"]


def test_a_sweep_in_the_folder_of_a_run_is_refused(start, trained_run):
    before = sorted(trained_run.rglob("*"))
    status, stdout, stderr = end(start("--grid=seed=1,2", f"--workdir={trained_run}"))
    assert status == 2 and "a run lies there; name another folder for a sweep" in stderr
    assert sorted(trained_run.rglob("*")) == before


def test_a_mistake_in_the_grid_ends_in_a_sentence_and_a_status(start):
    status, stdout, stderr = end(start("--grid=schedule.peak_learning_rat=1"))
    assert status == 2 and "Traceback" not in stdout + stderr
    assert "error: --grid=schedule.peak_learning_rat=1: there is no field" in stderr
