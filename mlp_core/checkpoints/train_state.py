"""The state that training carries from step to step, and a checkpoint holds."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax


@flax.struct.dataclass
class TrainState:
    """All that a run must save: what comes next follows from it, the seed and the config."""

    step: jax.Array
    params: Any
    opt_state: optax.OptState
    ema_params: Any  # None where no average is kept.

    @classmethod
    def create(cls, params, optimizer: optax.GradientTransformation, ema: bool) -> "TrainState":
        """The state before the first step."""
        return cls(
            step=jnp.zeros((), jnp.int32),
            params=params,
            opt_state=optimizer.init(params),
            ema_params=jax.tree.map(jnp.copy, params) if ema else None,
        )

    @property
    def eval_params(self):
        """The parameters to evaluate and to publish: the average where one is kept."""
        return self.params if self.ema_params is None else self.ema_params
