"""A process that waits in vain ends, with a status of its own and a sentence."""

import os
import subprocess
import sys

from tests.conftest import ROOT

HANGS = """
import pathlib, sys, time
from mlp_core.process.watchdog import limited, waits_for
with limited(1, pathlib.Path(sys.argv[1])):
    for step in range(20):
        waits_for("a step")  # The same words, and yet something has moved.
        time.sleep(0.1)
    print("moved", flush=True)
    waits_for("data of step 20")
    time.sleep(60)
"""
# Data of the ninth step never come.
TRAINS = """
import pathlib, sys, time
from mlp_core.train.loop import train
from tests.mlp_core.train.quadratic import Quadratic
from tests.mlp_core.train.test_loop import StopsAt, settings

class Hangs(StopsAt):
    def gather(self, indices, draws=None):
        if draws is not None and draws[0] >= 8 * 8:
            time.sleep(600)
        return self.source.gather(indices, draws)

config = settings(**{"train.stall_limit": 0.15})
train(Quadratic(train_source=Hangs(Quadratic().train_source, 0)), config, pathlib.Path(sys.argv[1]))
"""


def run(code, path):
    return subprocess.run(
        [sys.executable, "-c", code, path],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_process_in_which_nothing_moves_ends_and_says_what_it_waited_for(tmp_path):
    ended = run(HANGS, tmp_path / "stalled.txt")
    assert ended.returncode == 124 and ended.stdout == "moved\n", ended.stderr
    assert "data of step 20 was waited for" in ended.stderr and "Traceback" not in ended.stderr
    assert 'File "<string>"' in (tmp_path / "stalled.txt").read_text()


def test_a_run_whose_data_do_not_come_ends_with_its_checkpoints_whole(tmp_path):
    ended = run(TRAINS, tmp_path)
    assert ended.returncode == 124, ended.stderr
    assert "error: nothing has moved for 0.15 minutes" in ended.stderr
    assert "data of step 9 was waited for" in ended.stderr
    assert "gather" in (tmp_path / "stalled.txt").read_text()
    assert (tmp_path / "checkpoints" / "8").is_dir()
