"""Layers that all-MLP networks share: the two-layer MLP and stochastic depth.

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

    Dropout follows each of the two; the papers name a rate, not the place.
    """

    hidden_dim: int
    gelu: str = "tanh"
    dropout_rate: float = 0.0
    dtype: Any = jnp.float32
    hidden_in_memory: bool = False  # In evaluation; a choice of speed alone.

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps [..., N] to [..., N]."""
        width = x.shape[-1]
        drop = nn.Dropout(self.dropout_rate, deterministic=not train)
        x = Dense(self.hidden_dim, dtype=self.dtype)(x)  # [..., hidden_dim]
        x = drop(GELU_FORMS[self.gelu](x))
        if self.hidden_in_memory and not train:
            # Else the TPU's compiler computes GELU anew for every tile of the next product.
            x = jax.lax.optimization_barrier(x)
        return drop(Dense(width, dtype=self.dtype)(x))  # [..., N]


class StochasticDepth(nn.Module):
    """Drops a residual branch for some examples of a batch, in training only.

    Unless `rescaled`, what is kept stays as it is, as in the released MLP-Mixer training code; else
    it is divided by 1 - rate (Deep Networks with Stochastic Depth, arXiv:1603.09382, does so in
    evaluation instead), which keeps its mean.
    """

    rescaled: bool = False

    @nn.compact
    def __call__(
        self, branch: jax.Array, rate: jax.Array | float | None, *, train: bool = False
    ) -> jax.Array:
        """Maps [B, ...] to [B, ...], whole examples zeroed with probability `rate`; None: never."""
        if not train or rate is None:
            return branch
        shape = branch.shape[:1] + (1,) * (branch.ndim - 1)
        keep_rate = 1 - jnp.asarray(rate, jnp.float32)
        keep = jax.random.bernoulli(self.make_rng("dropout"), keep_rate, shape)
        kept = branch * keep
        return kept / keep_rate.astype(branch.dtype) if self.rescaled else kept


def depth_rate(last: float, block: int, num_blocks: int) -> float:
    """The drop probability of a block: 0 in the first, `last` in the last, linear in between."""
    return last * block / max(num_blocks - 1, 1)
