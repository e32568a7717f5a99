"""Layers that all-MLP networks share: the two-layer MLP and stochastic depth.

Shapes: B batch, S tokens, C channels.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

GELU_FORMS = {
    "tanh": functools.partial(nn.gelu, approximate=True),
    "erf": functools.partial(nn.gelu, approximate=False),
}


class MlpBlock(nn.Module):
    """Dense, GELU, Dense over the last axis, which keeps its width (MLP-Mixer, equation 1).

    Dropout follows each of the two; the papers name a rate, not the place.
    """

    hidden_dim: int
    gelu: str = "tanh"
    dropout_rate: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps [..., N] to [..., N]."""
        width = x.shape[-1]
        drop = nn.Dropout(self.dropout_rate, deterministic=not train)
        x = nn.Dense(self.hidden_dim, dtype=self.dtype)(x)  # [..., hidden_dim]
        x = drop(GELU_FORMS[self.gelu](x))
        return drop(nn.Dense(width, dtype=self.dtype)(x))  # [..., N]


class StochasticDepth(nn.Module):
    """Drops a residual branch for some examples of a batch, in training only.

    As in the released MLP-Mixer training code, what is kept is not rescaled by 1 / (1 - rate).
    """

    rate: float

    @nn.compact
    def __call__(self, branch: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps [B, ...] to [B, ...], whole examples zeroed with probability `rate`."""
        if not train or self.rate == 0:
            return branch
        shape = branch.shape[:1] + (1,) * (branch.ndim - 1)
        keep = jax.random.bernoulli(self.make_rng("dropout"), 1 - self.rate, shape)
        return branch * keep
