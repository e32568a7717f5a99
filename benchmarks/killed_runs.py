"""Training runs of the digits that are killed and started again, for the scripts beside this one.

A run is `python launch/main.py` in a process of its own, with the program cache and the data of
one folder, so that only the first start compiles.
"""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from mlp_core.errors import TRY_AGAIN
from mlp_core.run_folder.metrics import read_metrics
from mlp_core.run_folder.run_directory import RunFiles

ROOT = Path(__file__).resolve().parent.parent
UNFINISHED = "*orbax-checkpoint-tmp*"  # A checkpoint, or a part of one, that is being written.
SPEED = ("train/examples_per_second_per_device", "train/data_wait_share", "train/device_days")


class DigitsRun:
    """A run in `folder / name`, started as often as need be."""

    def __init__(self, folder: Path, name: str, fields: Sequence[str]):
        """`fields` are set on the command line, such as "train.duration=100 steps"."""
        self.workdir = folder / name
        self._log = folder / f"{name}.log"
        self._printed_before = 0
        self._environment = os.environ | {
            "JAX_COMPILATION_CACHE_DIR": str(folder / "programs"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "TFDS_DATA_DIR": str(folder / "data"),
            "PYTHONPATH": str(ROOT),
        }
        self._command = [
            *(sys.executable, "launch/main.py", "--config=configs/mixer_digits.py"),
            *(f"--config.{field}" for field in fields),
            f"--workdir={self.workdir}",
        ]

    def start(self) -> subprocess.Popen:
        """Starts it, or lets it go on; what it prints goes to a file."""
        with self._log.open("a") as log:
            self._printed_before = log.tell()
            return subprocess.Popen(
                self._command, cwd=ROOT, env=self._environment, stdout=log, stderr=log
            )

    def step(self) -> int:
        """The last step reported."""
        metrics = RunFiles.of(self.workdir).metrics
        if not metrics.exists():
            return 0
        with metrics.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - 4096, 0))
            steps = re.findall(rb'^{"step": (\d+),', file.read(), re.MULTILINE)
        return int(steps[-1]) if steps else 0

    def curve(self) -> dict[int, dict[str, float]]:
        """All that is reported of a step but speed and cost."""
        curve: dict[int, dict[str, float]] = {}
        for record in read_metrics(RunFiles.of(self.workdir).metrics):
            sound = {name: value for name, value in record.items() if name not in SPEED}
            curve.setdefault(record["step"], {}).update(sound)
        return curve

    def state(self, step: int):
        """The training state in the checkpoint of `step`."""
        return ocp.load((RunFiles.of(self.workdir).checkpoints / str(step)).absolute())

    def is_silent(self) -> bool:
        """Whether nothing has been printed since the last start."""
        return self._log.stat().st_size == self._printed_before

    def tail(self) -> str:
        """The last lines that it has printed."""
        return "\n".join(self._log.read_text().splitlines()[-20:])


def check_ended(process: subprocess.Popen, run: DigitsRun, killed_by: int | None = None) -> None:
    """Accepts an end as it should be: by the signal that was sent, or because all is done.

    Raises:
        RuntimeError: the run ended otherwise.
    """
    ends = {0}
    if killed_by == signal.SIGKILL:
        ends.add(-signal.SIGKILL)
    elif killed_by == signal.SIGTERM:
        # Python's first moments, before the command can wait for signals, end as the system says.
        ends.add(-signal.SIGTERM if run.is_silent() else TRY_AGAIN)
    if process.returncode not in ends:
        raise RuntimeError(f"the run ended with status {process.returncode}:\n{run.tail()}")


def wait_for_writing(run: DigitsRun, process: subprocess.Popen, rng: random.Random) -> None:
    """Returns at some moment of the next writing of a checkpoint, or when the process has ended."""
    checkpoints = RunFiles.of(run.workdir).checkpoints
    while process.poll() is None and not any(checkpoints.glob(UNFINISHED)):
        time.sleep(0.0005)
    time.sleep(rng.choice((0, 0.002, 0.01, 0.05, 0.1)) * rng.random())


def wait(seconds: float, process: subprocess.Popen, look: Callable[[], None] = lambda: None):
    """Waits for the end of a process, `seconds` at most, and calls `look` now and then."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and (left := deadline - time.monotonic()) > 0:
        look()
        time.sleep(min(left, 1.0))


def difference(run: DigitsRun, undisturbed: DigitsRun, step: int) -> str:
    """The first difference between curves, or the whole states after `step`; empty if none."""
    curves = run.curve(), undisturbed.curve()
    for at in sorted(curves[0].keys() | curves[1].keys()):
        there, here = (curve.get(at) for curve in curves)
        if there != here:
            return f"step {at}: {there} in place of {here}"
    paths_and_leaves = (jax.tree.leaves_with_path(each.state(step)) for each in (run, undisturbed))
    for (path, there), (_, here) in zip(*paths_and_leaves, strict=True):
        if not np.array_equal(np.asarray(there), np.asarray(here)):
            return f"final state: {jax.tree_util.keystr(path)}"
    return ""
