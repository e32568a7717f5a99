"""Reports of a run: training scalars (fetched one step late), evaluations, progress, a trace."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from mlp_core.errors import NonFiniteLossError
from mlp_core.process.console import say
from mlp_core.run_folder.metrics import MetricWriter, latest_metrics
from mlp_core.run_folder.run_directory import RunFiles
from mlp_core.train.durations import Plan

LONGEST_SILENCE = 30.0  # Maximum seconds between two lines while steps are being done.
WARM_UP, TRACED = 10, 10  # Steps.
SECONDS_A_DAY = 86400


class Stopwatch:
    """Times steps, evaluations and waiting for data, excluding compilation."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter):
        """Starts the first lap. `clock` returns seconds."""
        self._clock = clock
        self._lap_started = clock()
        self._paused = 0.0  # Seconds in this lap, as are the following.
        self._waited = 0.0
        self._started = self._lap_started
        self._paused_in_all = 0.0
        self._first_step_done: float | None = None  # Seconds of training until then.
        self._last_step_done = 0.0
        self._steps_since_first = 0
        self._evaluation: float | None = None  # Seconds of the last evaluation.

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Excludes the time inside from training."""
        started = self._clock()
        yield
        seconds = self._clock() - started
        self._paused += seconds
        self._paused_in_all += seconds

    @contextmanager
    def evaluating(self, evaluation_step: "CompiledAtFirst") -> Iterator[None]:
        """Counts the time inside as evaluation, except for compiling `evaluation_step`."""
        started, compiled_before = self._clock(), evaluation_step.seconds
        with self.pause():
            yield
        compilation = evaluation_step.seconds - compiled_before
        self._evaluation = self._clock() - started - compilation

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Counts the time inside as training that waits for data."""
        started = self._clock()
        yield
        self._waited += self._clock() - started

    def step_done(self) -> None:
        """Records the time of a step. The first, a warm-up, is excluded from the estimate."""
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
        """Estimates the seconds of more steps and evaluations; None if no step was timed yet."""
        if self.seconds_a_step is None:
            return None
        return steps * self.seconds_a_step + evaluations * (self._evaluation or 0.0)

    def lap(self) -> tuple[float, float]:
        """Returns the seconds of training, and of waiting within it, since the last lap; resets."""
        now = self._clock()
        seconds, waited = now - self._lap_started - self._paused, self._waited
        self._lap_started, self._paused, self._waited = now, 0.0, 0.0
        return seconds, waited


class CompiledAtFirst:
    """Compiles a jitted function for each new kind of batch, and prints so before and after.

    The last argument is the batch. The others have the same shapes and shardings in all calls.
    """

    def __init__(self, jitted: Callable, name: str, clock: Callable[[], float] = time.perf_counter):
        """`name` is used in messages, such as "the training step"."""
        self._jitted, self._name, self._clock = jitted, name, clock
        self._compiled: dict[tuple, jax.stages.Compiled] = {}
        self.seconds = 0.0  # Total compilation time.

    def compile(self, *args) -> jax.stages.Compiled:
        """Compiles for these arguments, unless already done."""
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
        """Starts at `first_step`, the number of steps that a resumed run has already trained."""
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
        """Advances the bar by one step."""
        self._bar.update()

    @property
    def is_overdue(self) -> bool:
        """Whether nothing was reported yet, or not for a long time."""
        return self._last_line is None or time.monotonic() - self._last_line > LONGEST_SILENCE

    def report(
        self,
        step: int,
        loss: float,
        examples_per_second: float | None,
        seconds_left: float | None,
    ) -> None:
        """Refreshes the displayed numbers; None means not known yet."""
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
        """Leaves the bar in its current state."""
        self._bar.close()


class StepTrace:
    """Traces a few steps on host 0; in a run that is too short, from its middle."""

    def __init__(self, folder: Path | None, first_step: int, last_step: int):
        """Prepares the trace without writing anything.

        Args:
          folder: where the trace is written; None disables it.
          first_step: the first step of the run, from 0.
          last_step: the step at which the run ends.
        """
        self._folder = folder if jax.process_index() == 0 else None
        self._first = first_step + min(WARM_UP, (last_step - first_step) // 2)
        self._last = min(self._first + TRACED, last_step) - 1
        self._is_open = False

    def step(self, number: int) -> AbstractContextManager[Any]:
        """Returns a context manager for dispatching step `number`, from 0."""
        if self._folder and number == self._first:
            jax.profiler.start_trace(self._folder)
            self._is_open = True
        if not self._is_open:
            return nullcontext()
        return jax.profiler.StepTraceAnnotation("train", step_num=number)

    def after(self, number: int, state: Any) -> None:
        """Waits for the `state` of the last traced step, and ends the trace."""
        if self._is_open and number == self._last:
            jax.block_until_ready(state)
            self.close()

    def close(self) -> None:
        """Writes the trace, if one is in progress."""
        if self._is_open:
            self._is_open = False
            jax.profiler.stop_trace()
            say(
                f"Trace from step {self._first + 1:,} on: {self._folder}/plugins/profile (pip "
                "install xprof; xprof --logdir=..., or a .trace.json.gz in ui.perfetto.dev)"
            )


class RunLog:
    """Collects scalars of training steps, checks that they are finite, and reports them.

    Reports go to the progress display and, through `MetricWriter`, to files. `stopwatch` separates
    training, waiting for data, and everything else.
    """

    def __init__(
        self,
        files: RunFiles,
        plan: Plan,
        global_batch_size: int,
        first_step: int,
        unreported: Mapping[str, Any],
    ):
        """Continues the log that an earlier part of the run wrote up to `first_step`.

        `unreported` holds the values that part had not reported yet.
        """
        self._writer = MetricWriter(files.metrics, files.tensorboard, first_step)
        self._device_days = latest_metrics(files.metrics).get("train/device_days", 0.0)
        self._plan = plan
        self._global_batch_size = global_batch_size
        self._bar = ProgressBar(first_step, plan.total)
        self._pending = None
        self._num_summed: int = unreported.get("steps", 0)
        self._sums: dict[str, float] = dict(unreported.get("sums", {}))
        self._learning_rate = 0.0
        self._num_timed = 0
        self._evaluated_step = first_step
        self.stopwatch = Stopwatch()

    @property
    def unreported(self) -> dict[str, Any]:
        """Values since the last report, to be passed to the `RunLog` of a resumed run."""
        return {"steps": self._num_summed, "sums": self._sums}

    def add(self, step: int, scalars: dict[str, jax.Array]) -> None:
        """Accepts the scalars of the step just dispatched, and reads those of the one before."""
        self.flush()
        self._pending = (step, scalars)

    def flush(self) -> None:
        """Waits for the last step added and reads its scalars.

        Raises:
            NonFiniteLossError: its loss, gradient or update is not finite.
        """
        if self._pending is None:
            return
        step, scalars = self._pending
        self._pending = None
        values = {name: float(value) for name, value in jax.device_get(scalars).items()}
        if not all(np.isfinite(value) for value in values.values()):
            raise NonFiniteLossError(
                f"step {step}: the loss is {values['loss']}, the norm of the gradient "
                f"{values['grad_norm']} and of the update {values['update_norm']}; a lower "
                "config.schedule.peak_learning_rate, a longer warm-up or float32 may help, in "
                "another --workdir."
            )
        self._sums = {name: self._sums.get(name, 0.0) + value for name, value in values.items()}
        self._learning_rate = values["learning_rate"]
        self._num_summed += 1
        self._num_timed += 1
        self._bar.step_done()
        self.stopwatch.step_done()
        if self._plan.is_due(step, self._plan.report_every):
            self._report(step)
        elif self._bar.is_overdue:
            seconds_a_step = self.stopwatch.seconds_a_step
            speed = seconds_a_step and self._global_batch_size / seconds_a_step
            self._bar.report(step, values["loss"], speed, self._seconds_left(step))

    def write_evaluation(self, step: int, metrics: dict[str, float]) -> None:
        """Reports the metrics of an evaluation after `step` steps.

        Raises:
            NonFiniteLossError: one of them is not finite.
        """
        for name, value in metrics.items():
            if not np.isfinite(value):
                raise NonFiniteLossError(f"step {step}: {name} is {value}.")
        self._evaluated_step = step
        self._writer.write(step, metrics)
        say(f"step {step:,}: " + "  ".join(f"{name} {v:.4f}" for name, v in metrics.items()))

    def close(self) -> None:
        """Ends the progress bar and flushes the files."""
        self._bar.close()
        self._writer.close()

    def _report(self, step: int) -> None:
        """Writes means since the last report, the last learning rate, speed and cost."""
        means = {name: total / self._num_summed for name, total in self._sums.items()}
        means["learning_rate"] = self._learning_rate
        seconds, waited = self.stopwatch.lap()
        devices = jax.device_count()
        examples_per_second = self._num_timed * self._global_batch_size / seconds
        self._device_days += seconds * devices / SECONDS_A_DAY
        speed = {
            "examples_per_second_per_device": examples_per_second / devices,
            "data_wait_share": waited / seconds,
            "device_days": self._device_days,
        }
        metrics = {f"train/{name}": value for name, value in (means | speed).items()}
        self._writer.write(step, metrics)
        self._bar.report(step, means["loss"], examples_per_second, self._seconds_left(step))
        self._num_summed, self._sums, self._num_timed = 0, {}, 0

    def _seconds_left(self, step: int) -> float | None:
        """Estimates the seconds to the end of the run; None if not known yet."""
        plan = self._plan
        evaluations = plan.times_due(self._evaluated_step, plan.evaluate_every)
        return self.stopwatch.seconds_left(plan.total - step, evaluations)
