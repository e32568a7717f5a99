"""The training state, carried from step to step and saved in checkpoints."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax


@flax.struct.dataclass
class TrainState:
    """Everything a run must save: with the seed and the config it determines all later steps."""

    step: jax.Array
    params: Any
    opt_state: optax.OptState
    ema_params: Any  # None if no average is kept.

    @classmethod
    def create(cls, params, optimizer: optax.GradientTransformation, ema: bool) -> "TrainState":
        """Returns the state before the first step."""
        return cls(
            step=jnp.zeros((), jnp.int32),
            params=params,
            opt_state=optimizer.init(params),
            ema_params=jax.tree.map(jnp.copy, params) if ema else None,
        )

    @property
    def eval_params(self):
        """The parameters to evaluate and to publish: the average if one is kept."""
        return self.params if self.ema_params is None else self.ema_params
