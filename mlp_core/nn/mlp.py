"""Layers common to all-MLP networks: the two-layer MLP and stochastic depth.

Shapes: B batch, S tokens, C channels.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mlp_core.nn.dense import Dense

GELU_FORMS = {
    "tanh": functools.partial(nn.gelu, approximate=True),
    "erf": functools.partial(nn.gelu, approximate=False),
}


class MlpBlock(nn.Module):
    """Dense, GELU, Dense over the last axis, which keeps its width (MLP-Mixer, equation 1).

    Dropout follows each of the two; the papers give a rate, not the position.
    """

    hidden_dim: int
    gelu: str = "tanh"
    dropout_rate: float = 0.0
    dtype: Any = jnp.float32
    hidden_in_memory: bool = False  # In evaluation; affects speed only.

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps [..., N] to [..., N]."""
        width = x.shape[-1]
        drop = nn.Dropout(self.dropout_rate, deterministic=not train)
        x = Dense(self.hidden_dim, dtype=self.dtype)(x)  # [..., hidden_dim]
        x = drop(GELU_FORMS[self.gelu](x))
        if self.hidden_in_memory and not train:
            # Otherwise XLA recomputes GELU on TPUs for every tile of the next product.
            x = jax.lax.optimization_barrier(x)
        return drop(Dense(width, dtype=self.dtype)(x))  # [..., N]


class StochasticDepth(nn.Module):
    """Drops a residual branch for some examples of a batch, in training only.

    Unless `rescaled`, kept branches are unchanged, as in the released MLP-Mixer training code; else
    they are divided by 1 - rate, which keeps the mean (Deep Networks with Stochastic Depth,
    arXiv:1603.09382, rescales in evaluation instead).
    """

    rescaled: bool = False

    @nn.compact
    def __call__(
        self, branch: jax.Array, rate: jax.Array | float | None, *, train: bool = False
    ) -> jax.Array:
        """Maps [B, ...] to [B, ...]; zeroes whole examples with probability `rate`; None: never."""
        if not train or rate is None:
            return branch
        shape = branch.shape[:1] + (1,) * (branch.ndim - 1)
        keep_rate = 1 - jnp.asarray(rate, jnp.float32)
        keep = jax.random.bernoulli(self.make_rng("dropout"), keep_rate, shape)
        kept = branch * keep
        return kept / keep_rate.astype(branch.dtype) if self.rescaled else kept


def depth_rate(last: float, block: int, num_blocks: int) -> float:
    """Returns a block's drop probability: linear from 0 in the first to `last` in the last."""
    return last * block / max(num_blocks - 1, 1)
