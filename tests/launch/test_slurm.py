"""The Slurm script, run in bash with stand-ins for srun and scontrol."""

import os
import re
import signal
import subprocess
import time

import pytest

from tests.conftest import ROOT

SCRIPT = ROOT / "launch/slurm.sbatch"


@pytest.fixture
def start(tmp_path):
    def start(srun, **environment):
        for name, body in {"srun": srun, "scontrol": 'echo "$@" >requeued'}.items():
            (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
            (tmp_path / name).chmod(0o755)
        environment |= {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"}
        environment |= {"SLURM_CPUS_PER_TASK": "8"}
        return subprocess.Popen(
            ["bash", SCRIPT, "--config=configs/x.py", "--config.train.duration=5 epochs"],
            cwd=tmp_path,
            env=os.environ | environment,
        )

    return start


@pytest.mark.parametrize(
    ("status", "requeued"), [(0, False), (2, False), (75, True), (143, True), (137, False)]
)
def test_only_what_was_preempted_is_started_again(start, tmp_path, status, requeued):
    job = start(f"printf '%s\\n' \"$@\" >given; exit {status}")
    assert job.wait(timeout=20) == (0 if requeued else status)
    assert (tmp_path / "given").read_text().splitlines() == [
        *("--kill-on-bad-exit=0", "--cpus-per-task=8", "python", "-u", "launch/main.py"),
        *("--config=configs/x.py", "--config.train.duration=5 epochs"),
    ]
    path = tmp_path / "requeued"
    assert (path.read_text() if path.exists() else "") == ("requeue 7\n" if requeued else "")


def test_restarts_are_limited(start, tmp_path):
    assert start("exit 75", SLURM_RESTART_COUNT="100").wait(timeout=20) == 75
    assert not (tmp_path / "requeued").exists()


def test_a_sigterm_to_the_script_too_leaves_the_tasks_time_to_save(start, tmp_path):
    job = start("touch begun; sleep 1; exit 75")
    while not (tmp_path / "begun").exists():
        time.sleep(0.02)
    job.send_signal(signal.SIGTERM)
    assert job.wait(timeout=20) == 0 and (tmp_path / "requeued").exists()


def test_the_options_are_those_that_jax_and_a_second_start_need():
    options = dict(re.findall(r"^#SBATCH --([\w-]+)=?(.*)$", SCRIPT.read_text(), re.MULTILINE))
    assert options["ntasks-per-node"] == options["gpus-per-node"]  # JAX takes one GPU a task.
    assert options["gpu-bind"] == "none" and "requeue" in options
    assert re.fullmatch(r"TERM@\d+", options["signal"])  # Without B: the tasks get it.
    assert options["open-mode"] == "append"  # A second start keeps the log of the first.
