"""Progress of a run: a bar on a terminal, plain lines elsewhere; speed and time accounting."""

import sys
import time
from contextlib import contextmanager

import jax
from tqdm import tqdm

from mlp_core.console import say


class Stopwatch:
    """Time spent in training, without evaluations and the like, and in waiting for data."""

    def __init__(self):
        """Starts the first lap."""
        self._started = time.perf_counter()
        self._paused = 0.0
        self._waited = 0.0

    @contextmanager
    def pause(self):
        """Time inside does not count as training."""
        started = time.perf_counter()
        yield
        self._paused += time.perf_counter() - started

    @contextmanager
    def waiting(self):
        """Time inside counts as training that waits for data."""
        started = time.perf_counter()
        yield
        self._waited += time.perf_counter() - started

    def lap(self) -> tuple[float, float]:
        """Seconds of training and, of these, of waiting, since the last lap; starts a new one."""
        now = time.perf_counter()
        seconds, waited = now - self._started - self._paused, self._waited
        self._started, self._paused, self._waited = now, 0.0, 0.0
        return seconds, waited


class ProgressBar:
    """Shows step, loss, speed and time left on a terminal, or a line a report elsewhere."""

    def __init__(self, first_step: int, total_steps: int):
        """Starts to count at `first_step`, which a run that goes on has reached before."""
        self._total_steps = total_steps
        self._started, self._first_step = time.perf_counter(), first_step
        is_terminal = sys.stderr.isatty() and jax.process_index() == 0
        self._bar = tqdm(
            total=total_steps, initial=first_step, unit="step", disable=not is_terminal
        )

    def step_done(self) -> None:
        """Moves the bar by one step."""
        self._bar.update()

    def report(self, step: int, loss: float, examples_per_second: float) -> None:
        """Refreshes the numbers shown."""
        if not self._bar.disable:
            self._bar.set_postfix_str(f"loss {loss:.4f}, {examples_per_second:,.0f} ex/s")
            return
        per_step = (time.perf_counter() - self._started) / max(step - self._first_step, 1)
        left = tqdm.format_interval((self._total_steps - step) * per_step)
        say(
            f"step {step:,}/{self._total_steps:,}  loss {loss:.4f}  "
            f"{examples_per_second:,.0f} ex/s  {left} left"
        )

    def close(self) -> None:
        """Leaves the bar as it stands."""
        self._bar.close()
