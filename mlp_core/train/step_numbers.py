"""Numbers of a configuration that the training step takes as arguments."""

from typing import NamedTuple

import jax
import numpy as np

from mlp_core.config import RunConfig

Number = float | np.ndarray | jax.Array


class StepNumbers(NamedTuple):
    """Runs that differ in these numbers alone, as those of a sweep do, share a compiled program.

    Whether a decay is zero is part of the program.
    """

    key: np.ndarray | jax.Array  # Data of the random key of the run's seed.
    peak_learning_rate: Number
    final_learning_rate: Number
    weight_decay: Number
    ema_decay: Number

    @classmethod
    def of(cls, config: RunConfig) -> "StepNumbers":
        """The numbers of a run, on the host."""
        return cls(
            np.asarray(jax.random.key_data(jax.random.key(config.seed))),
            *np.float32(
                [
                    config.schedule.peak_learning_rate,
                    config.schedule.final_learning_rate,
                    config.optimizer.weight_decay,
                    config.train.ema_decay,
                ]
            ),
        )
