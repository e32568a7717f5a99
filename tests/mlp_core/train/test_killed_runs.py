"""A run that is killed at any moment, those of writing included, ends as if it had not been."""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from mlp_core.run_folder.metrics import read_metrics
from tests.conftest import ROOT
from tests.mlp_core.train.test_loop import final_state

STEPS, KILLS = 60, 20
# It takes its time for each batch, so that kills meet it.
PROGRAM = """
import pathlib, sys, time
import jax
jax.config.update("jax_compilation_cache_dir", sys.argv[2])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
from mlp_core.process import preemption
from mlp_core.errors import TRY_AGAIN, Preempted
from mlp_core.train.loop import train
from tests.mlp_core.train.quadratic import Quadratic
from tests.mlp_core.train.test_loop import StopsAt, settings

class Slow(StopsAt):
    def gather(self, indices, draws=None):
        time.sleep(float(sys.argv[3]))
        return super().gather(indices, draws)

preemption.listen()
config = settings(**{"train.duration": sys.argv[4], "evaluation.every": "10 steps",
                     "checkpoint.every": "3 steps", "log.every": "5 steps", "train.ema_decay": 0.9})
try:
    train(Quadratic(train_source=Slow(Quadratic().train_source, 10**9)), config,
          pathlib.Path(sys.argv[1]))
except Preempted as end:
    print(end)
    sys.exit(TRY_AGAIN)
"""


def start(workdir, programs, seconds_a_batch=0.03):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, workdir, programs, str(seconds_a_batch), f"{STEPS} steps"],
        cwd=ROOT,
        env=os.environ | {"JAX_NUM_CPU_DEVICES": "2", "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def curve(workdir):
    """What is reported of each step, but speed and cost."""
    return {
        (record["step"], name): value
        for record in read_metrics(workdir / "metrics.jsonl")
        for name, value in record.items()
        if name.startswith("test/") or name in ("train/loss", "train/grad_norm")
    }


def assert_same(workdir, undisturbed):
    import jax

    states = final_state(workdir, STEPS), final_state(undisturbed, STEPS)
    jax.tree.map(np.testing.assert_array_equal, *states)
    assert curve(workdir) == curve(undisturbed) and len(curve(workdir)) == 2 * STEPS // 5 + 2 * 7


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    return tmp_path_factory.mktemp("programs")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, programs):
    workdir = tmp_path_factory.mktemp("undisturbed")
    process = start(workdir, programs, 0.0)
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0, output
    return workdir


def test_sigterm_saves_the_step_at_hand_and_no_report_is_lost(tmp_path, programs, undisturbed):
    process = start(tmp_path, programs)
    deadline = time.monotonic() + 120
    # The second record is the report of step 5; the next is due at step 10.
    while len(read_metrics(tmp_path / "metrics.jsonl")) < 2 and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 75, output
    assert "is saved; the same command goes on" in output
    process = start(tmp_path, programs, 0.0)
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0 and "Start: goes on from step" in output, output
    assert_same(tmp_path, undisturbed)


@pytest.mark.slow
def test_20_kills_at_random_moments_change_nothing(tmp_path, programs, undisturbed):
    rng, kills, runs = random.Random(0), 0, 0
    while kills < KILLS:
        workdir = tmp_path / f"run_{runs}"
        workdir.mkdir(exist_ok=True)
        process = start(workdir, programs)
        if rng.random() < 0.6:
            wait_for_writing(process, workdir / "checkpoints")
            time.sleep(rng.choice((0, 0.003, 0.03, 0.1)) * rng.random())
        else:
            time.sleep(rng.uniform(0, 6))
        process.kill()
        output = process.communicate(timeout=60)[0]
        assert process.returncode in (0, -signal.SIGKILL), output
        if process.returncode == 0:
            assert_same(workdir, undisturbed)
        kills += process.returncode != 0
        runs += process.returncode == 0  # The next one starts anew.
    workdir = tmp_path / f"run_{runs}"
    process = start(workdir, programs, 0.0)
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0, output
    assert_same(workdir, undisturbed)


def wait_for_writing(process, checkpoints):
    while process.poll() is None and not any(checkpoints.glob("*orbax-checkpoint-tmp*")):
        time.sleep(0.0005)
