"""Processes that take turns: each measures when it is asked, while the others wait.

Libraries that do not share a process well are compared in one run by this, and ratios are of
neighbours in time.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = str(Path(__file__).resolve().parent.parent)
READY, MISSING = "ready", "missing"


class Server:
    """A process that measures as often as it is asked; it calls `serve`."""

    def __init__(self, command: Sequence[str], quiet: bool = False, **environment: str):
        """Starts it and waits until it is ready; `quiet` drops what it says besides."""
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if quiet else None,
            env=os.environ | {"PYTHONPATH": ROOT} | environment,
            text=True,
        )
        self.works = self._answer() == READY  # Else it lacks a library, and has ended.

    def measure(self) -> dict[str, float]:
        """The figures of one turn."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return json.loads(self._answer())

    def end(self) -> None:
        """Ends the process."""
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> str:
        """The next line that is an answer."""
        for line in self._process.stdout:
            if line.startswith(">"):
                return line[1:].strip()
        raise RuntimeError(f"{self._process.args}: ended with status {self._process.wait()}")


def serve(start: Callable[[], Callable[[], dict[str, float]]]) -> None:
    """Measures once for each line of input; ends at once where `start` misses a library.

    Args:
      start: makes what is measured ready, and returns what measures it in one turn.
    """
    try:
        measure = start()
    except ImportError as error:
        print(f"left out: {error}", file=sys.stderr)
        print(">", MISSING, flush=True)
        return
    print(">", READY, flush=True)
    for _ in sys.stdin:
        print(">", json.dumps(measure()), flush=True)
