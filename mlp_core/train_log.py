"""Training metrics: fetched one step late, averaged between reports, checked to be finite."""

import jax
import numpy as np

from mlp_core.errors import NonFiniteLossError
from mlp_core.metric_writer import MetricWriter
from mlp_core.progress import ProgressBar, Stopwatch

SECONDS_A_DAY = 86400


class TrainLog:
    """Collects the scalars that training steps return and reports them."""

    def __init__(
        self,
        writer: MetricWriter,
        *,
        global_batch_size: int,
        first_step: int,
        total_steps: int,
        report_every: int,
        device_days: float,
    ):
        """Reports every `report_every` steps and after the last; 0: only after the last.

        `device_days` is what the run has cost before `first_step`.
        """
        self.stopwatch = Stopwatch()
        self._writer = writer
        self._global_batch_size = global_batch_size
        self._total_steps = total_steps
        self._report_every = report_every
        self._device_days = device_days
        self._bar = ProgressBar(first_step, total_steps)
        self._pending = None
        self._window: list[dict[str, float]] = []

    def add(self, step: int, scalars: dict[str, jax.Array]) -> None:
        """Takes the scalars of the step just dispatched, and reads those of the one before."""
        self.flush()
        self._pending = (step, scalars)

    def flush(self) -> None:
        """Waits for the last step taken and reads its scalars.

        Raises:
            NonFiniteLossError: its loss or gradient is not finite.
        """
        if self._pending is None:
            return
        step, scalars = self._pending
        self._pending = None
        values = jax.device_get(scalars)
        if not (np.isfinite(values["loss"]) and np.isfinite(values["grad_norm"])):
            raise NonFiniteLossError(
                f"step {step}: the loss is {values['loss']} and the norm of the gradient "
                f"{values['grad_norm']}; a lower config.schedule.peak_learning_rate, a longer "
                "warm-up or float32 may help."
            )
        self._window.append(values)
        self._bar.step_done()
        if step == self._total_steps or (self._report_every and step % self._report_every == 0):
            self._report(step)

    def close(self) -> None:
        """Ends the progress bar."""
        self._bar.close()

    def _report(self, step: int) -> None:
        """Writes means since the last report, the last learning rate, speed and cost."""
        means = {
            name: float(np.mean([values[name] for values in self._window]))
            for name in self._window[0]
        }
        means["learning_rate"] = float(self._window[-1]["learning_rate"])
        seconds, waited = self.stopwatch.lap()
        devices = jax.device_count()
        images_per_second = len(self._window) * self._global_batch_size / seconds
        self._device_days += seconds * devices / SECONDS_A_DAY
        speed = {
            "images_per_second_per_device": images_per_second / devices,
            "data_wait_share": waited / seconds,
            "device_days": self._device_days,
        }
        metrics = {f"train/{name}": value for name, value in (means | speed).items()}
        self._writer.write(step, metrics)
        self._bar.report(step, means["loss"], images_per_second)
        self._window = []
