"""Seconds of the phases of a command that trains, from the lines that it prints."""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PHASES = {  # How the line begins that ends each phase.
    "imports_config_data": "Start:",
    "initial_parameters": "Devices:",
    "training_step_compiled": "Compiled the training step",
    "first_evaluation": "step 0:",
    "first_step": "step 1/",
}


def start_command(arguments: list[str], cache: Path, data: Path) -> subprocess.Popen:
    """Starts a Python program of the repository that keeps programs in `cache`, data in `data`."""
    environment = os.environ | {"XDG_CACHE_HOME": str(cache), "TFDS_DATA_DIR": str(data)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    return subprocess.Popen(
        [sys.executable, "-u", *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,  # Not a terminal, so progress is printed as lines, not as a bar.
        text=True,
    )


class PhaseTimer:
    """Times the phases of one run, the first from `started`."""

    def __init__(self, started: float):
        """`started` is a time of `time.perf_counter`."""
        self.seconds: dict[str, float] = {}
        self._started = started

    @property
    def is_done(self) -> bool:
        """Whether all phases have ended."""
        return len(self.seconds) == len(PHASES)

    def read(self, line: str) -> None:
        """Ends the current phase if `line` is the one that ends it."""
        if self.is_done:
            return
        phase = list(PHASES)[len(self.seconds)]
        if line.startswith(PHASES[phase]):
            now = time.perf_counter()
            self.seconds[phase], self._started = now - self._started, now
