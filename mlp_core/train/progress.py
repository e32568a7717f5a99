"""Progress of a run: a bar on a terminal, plain lines elsewhere; speed and time accounting."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import jax
from tqdm import tqdm

from mlp_core.process.console import say

LONGEST_SILENCE = 30.0  # Seconds between two lines, if steps are done meanwhile.


class Stopwatch:
    """Times steps, evaluations, and the waiting for data; compilation counts as none of these."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter):
        """Starts the first lap. `clock` returns seconds."""
        self._clock = clock
        self._lap_started = clock()
        self._paused = 0.0  # In this lap, as what follows.
        self._waited = 0.0
        self._started = self._lap_started
        self._paused_in_all = 0.0
        self._first_step_done: float | None = None  # Seconds of training until then.
        self._last_step_done = 0.0
        self._steps_since_first = 0
        self._evaluation: float | None = None  # Seconds of the last one.

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Time inside does not count as training."""
        started = self._clock()
        yield
        seconds = self._clock() - started
        self._paused += seconds
        self._paused_in_all += seconds

    @contextmanager
    def evaluating(self, evaluation_step: "CompiledAtFirst") -> Iterator[None]:
        """Time inside is that of an evaluation, except for compiling `evaluation_step`."""
        started, compiled_before = self._clock(), evaluation_step.seconds
        with self.pause():
            yield
        compilation = evaluation_step.seconds - compiled_before
        self._evaluation = self._clock() - started - compilation

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Time inside counts as training that waits for data."""
        started = self._clock()
        yield
        self._waited += self._clock() - started

    def step_done(self) -> None:
        """Notes the time of a step. The first one, which warms up, is not part of the estimate."""
        self._last_step_done = self._clock() - self._started - self._paused_in_all
        if self._first_step_done is None:
            self._first_step_done = self._last_step_done
        else:
            self._steps_since_first += 1

    @property
    def seconds_a_step(self) -> float | None:
        """The mean over all steps but the first; None before the second is done."""
        if not self._steps_since_first:
            return None
        return (self._last_step_done - self._first_step_done) / self._steps_since_first

    def seconds_left(self, steps: int, evaluations: int) -> float | None:
        """Expected seconds of so many more steps and evaluations; None if no step was timed yet."""
        if self.seconds_a_step is None:
            return None
        return steps * self.seconds_a_step + evaluations * (self._evaluation or 0.0)

    def lap(self) -> tuple[float, float]:
        """Seconds of training and, of these, of waiting, since the last lap; starts a new one."""
        now = self._clock()
        seconds, waited = now - self._lap_started - self._paused, self._waited
        self._lap_started, self._paused, self._waited = now, 0.0, 0.0
        return seconds, waited


class CompiledAtFirst:
    """Compiles a jitted function for each new kind of batch, and says so before and after.

    The last argument is the batch. The others have the same shapes and shardings in all calls.
    """

    def __init__(self, jitted: Callable, name: str, clock: Callable[[], float] = time.perf_counter):
        """`name` is what is printed, such as "the training step"."""
        self._jitted, self._name, self._clock = jitted, name, clock
        self._compiled: dict[tuple, jax.stages.Compiled] = {}
        self.seconds = 0.0  # That compilation took so far.

    def compile(self, *args) -> jax.stages.Compiled:
        """Compiles for such arguments, unless that has been done."""
        kind = tuple((name, rows.shape, rows.dtype) for name, rows in args[-1].items())
        if kind not in self._compiled:
            say(f"Compiling {self._name} ...")
            started = self._clock()
            self._compiled[kind] = self._jitted.lower(*args).compile()
            seconds = self._clock() - started
            self.seconds += seconds
            say(f"Compiled {self._name} in {seconds:.1f} s")
        return self._compiled[kind]

    def __call__(self, *args):
        """Calls the compiled function."""
        return self.compile(*args)(*args)


class ProgressBar:
    """Shows step, loss, speed and time left on a terminal, or prints lines elsewhere."""

    def __init__(self, first_step: int, total_steps: int):
        """Starts at `first_step`, up to which a resumed run was trained before."""
        self._total_steps = total_steps
        self._last_line: float | None = None
        is_terminal = sys.stderr.isatty() and jax.process_index() == 0
        self._bar = tqdm(
            total=total_steps,
            initial=first_step,
            bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]",
            disable=not is_terminal,
        )

    def step_done(self) -> None:
        """Moves the bar by one step."""
        self._bar.update()

    @property
    def is_overdue(self) -> bool:
        """Whether nothing was reported yet, or not for long."""
        return self._last_line is None or time.monotonic() - self._last_line > LONGEST_SILENCE

    def report(
        self,
        step: int,
        loss: float,
        examples_per_second: float | None,
        seconds_left: float | None,
    ) -> None:
        """Refreshes the numbers shown; those that are None are not known yet."""
        self._last_line = time.monotonic()
        numbers = [f"loss {loss:.4f}"]
        if examples_per_second is not None:
            numbers.append(f"{examples_per_second:,.0f} ex/s")
        if seconds_left is not None:
            numbers.append(f"{tqdm.format_interval(seconds_left)} left")
        if self._bar.disable:
            say("  ".join([f"step {step:,}/{self._total_steps:,}", *numbers]))
        else:
            self._bar.set_postfix_str(", ".join(numbers))

    def close(self) -> None:
        """Leaves the bar as it stands."""
        self._bar.close()
