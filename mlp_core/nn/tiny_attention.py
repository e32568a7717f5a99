"""The single small attention head of aMLP (Pay Attention to MLPs, section 4.3 and figure 6).

Shapes: B batch, S tokens, C channels, A size of the head, O channels out.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mlp_core.nn.dense import Dense


class TinyAttention(nn.Module):
    """Attention with one head, from the normalised input of a block to the width of its gate."""

    head_dim: int
    out_dim: int
    dropout_rate: float = 0.0  # Of the weights, in training.
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: jax.Array, mask: jax.Array | None = None, *, train: bool = False
    ) -> jax.Array:
        """Maps [B, S, C] to [B, S, O]; tokens where `mask` [B, S] is zero are not looked at."""
        qkv = Dense(3 * self.head_dim, dtype=self.dtype, name="qkv")(x)
        query, key, value = jnp.split(qkv, 3, axis=-1)  # [B, S, A] each.
        scores = jnp.einsum(
            "bia,bja->bij", query, key, preferred_element_type=jnp.float32
        )  # [B, S, S]
        if mask is not None:
            scores = jnp.where(mask[:, None, :] > 0, scores, jnp.finfo(scores.dtype).min)
        weights = jax.nn.softmax(scores / self.head_dim**0.5).astype(self.dtype)
        self.sow("intermediates", "weights", weights)  # For whoever asks to see them.
        weights = nn.Dropout(self.dropout_rate, deterministic=not train)(weights)
        mixed = jnp.einsum("bij,bja->bia", weights, value)
        return Dense(self.out_dim, dtype=self.dtype, name="out")(mixed)
