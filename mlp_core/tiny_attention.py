"""The single small attention head of aMLP (Pay Attention to MLPs, section 4.3 and figure 6).

Shapes: B batch, S tokens, C channels, A size of the head, O channels out.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


class TinyAttention(nn.Module):
    """Attention with one head, from the normalised input of a block to the width of its gate."""

    head_dim: int
    out_dim: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [B, S, C] to [B, S, O]."""
        qkv = nn.Dense(3 * self.head_dim, dtype=self.dtype, name="qkv")(x)
        query, key, value = jnp.split(qkv, 3, axis=-1)  # [B, S, A] each.
        scores = jnp.einsum(
            "bia,bja->bij", query, key, preferred_element_type=jnp.float32
        )  # [B, S, S]
        weights = jax.nn.softmax(scores / self.head_dim**0.5).astype(self.dtype)
        mixed = jnp.einsum("bij,bja->bia", weights, value)
        return nn.Dense(self.out_dim, dtype=self.dtype, name="out")(mixed)
