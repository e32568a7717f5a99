"""What a run reports: training scalars, fetched one step late, and evaluations."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from mlp_core.errors import NonFiniteLossError
from mlp_core.process.console import say
from mlp_core.run_folder.metrics import MetricWriter, latest_metrics
from mlp_core.run_folder.run_directory import RunFiles
from mlp_core.train.durations import Plan
from mlp_core.train.progress import ProgressBar, Stopwatch

SECONDS_A_DAY = 86400


class RunLog:
    """Collects scalars of training steps, checks that they are finite, and reports.

    Reports go to the progress display and, through `MetricWriter`, to files. `stopwatch` tells
    apart training, waiting for data, and what is neither.
    """

    def __init__(
        self,
        files: RunFiles,
        plan: Plan,
        global_batch_size: int,
        first_step: int,
        unreported: Mapping[str, Any],
    ):
        """Goes on from what an earlier part of the run has written up to `first_step`.

        `unreported` is what that part had not reported then.
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
        """What is known of the steps since the last report, for `RunLog` of a run that goes on."""
        return {"steps": self._num_summed, "sums": self._sums}

    def add(self, step: int, scalars: dict[str, jax.Array]) -> None:
        """Takes the scalars of the step just dispatched, and reads those of the one before."""
        self.flush()
        self._pending = (step, scalars)

    def flush(self) -> None:
        """Waits for the last step taken and reads its scalars.

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
        """Expected seconds to the end of the run; None if that is not known yet."""
        plan = self._plan
        evaluations = plan.times_due(self._evaluated_step, plan.evaluate_every)
        return self.stopwatch.seconds_left(plan.total - step, evaluations)
