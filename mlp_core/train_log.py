"""Training metrics: fetched one step late, averaged between reports, checked to be finite."""

import jax
import numpy as np

from mlp_core.errors import NonFiniteLossError
from mlp_core.metric_writer import MetricWriter
from mlp_core.progress import ProgressBar, Stopwatch, speed_metrics


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
    ):
        """Reports every `report_every` steps and after the last; 0: only after the last."""
        self.stopwatch = Stopwatch()
        self._writer = writer
        self._global_batch_size = global_batch_size
        self._total_steps = total_steps
        self._report_every = report_every
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
        """Writes means since the last report; the learning rate is the last one used."""
        means = {
            f"train/{name}": float(np.mean([values[name] for values in self._window]))
            for name in self._window[0]
        }
        means["train/learning_rate"] = float(self._window[-1]["learning_rate"])
        speed = speed_metrics(len(self._window), self._global_batch_size, *self.stopwatch.lap())
        self._writer.write(step, means | speed)
        self._window = []
        images_per_second = speed["images_per_second_per_device"] * jax.device_count()
        self._bar.report(step, means["train/loss"], images_per_second)
