"""The block of gMLP, tMLP and aMLP (Pay Attention to MLPs, section 2 and figures 1 and 6).

Shapes: B batch, S tokens, C channels of a token, E = `ffn_dim`, G gated channels: E / 2 with
gating "split".
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mlp_core.nn.dense import Dense, SplitDense
from mlp_core.nn.mlp import GELU_FORMS, StochasticDepth
from mlp_core.nn.spatial_gating import SpatialGatingUnit

# See `sharding`; the two layers are split by the channels between them.
TENSOR_PARALLEL = (
    ".*/project_in/kernel=-,model",
    ".*/project_in/bias=model",
    ".*/project_out/kernel=model,-",
)


class GmlpBlock(nn.Module):
    """Norm, expansion, GELU, spatial gating unit and projection, with one skip connection.

    A Toeplitz spatial matrix makes it tMLP; tiny attention makes it aMLP.
    """

    ffn_dim: int
    gating: str = "split"  # One of `spatial_gating.GATINGS`.
    spatial_matrix: str = "full"  # Or "toeplitz".
    tiny_attention_dim: int = 0  # Size of the attention head; 0: no attention.
    gelu: str = "tanh"
    layer_norm_epsilon: float = 1e-6
    gate_layer_norm_epsilon: float = 1e-6
    dropout_rate: float = 0.0  # Of the residual branch.
    attention_dropout_rate: float = 0.0
    drop_path_rescaled: bool = False
    num_tokens: int | None = None  # Of the parameters; None: of the input.
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        mask: jax.Array | None = None,
        *,
        drop_path_rate: jax.Array | float | None = None,
        train: bool = False,
    ) -> jax.Array:
        """Maps [B, S, C] to [B, S, C]; gating "split" needs an even `ffn_dim`.

        Tokens where `mask` [B, S] is zero do not affect the others. With `drop_path_rate`, a
        scalar, training skips the block for that fraction of the examples.
        """
        y = nn.LayerNorm(epsilon=self.layer_norm_epsilon, dtype=self.dtype, name="norm")(x)
        attention = None
        if self.tiny_attention_dim:
            gate_dim = self.ffn_dim // 2 if self.gating == "split" else self.ffn_dim
            attention = TinyAttention(
                self.tiny_attention_dim,
                gate_dim,
                self.attention_dropout_rate,
                self.dtype,
                name="tiny_attention",
            )(y, mask, train=train)
        num_parts = 2 if self.gating == "split" else 1
        parts = SplitDense(self.ffn_dim, num_parts, self.dtype, name="project_in")(y)
        parts = [GELU_FORMS[self.gelu](part) for part in parts]  # [B, S, G] each
        bypass, gate = parts[0], parts[-1]  # The same array unless split.
        z = SpatialGatingUnit(
            self.gating,
            self.spatial_matrix,
            self.gate_layer_norm_epsilon,
            self.num_tokens,
            self.dtype,
            name="gating",
        )(bypass, gate, attention, mask)  # [B, S, G]
        y = Dense(x.shape[-1], dtype=self.dtype, name="project_out")(z)  # [B, S, C]
        y = nn.Dropout(self.dropout_rate, deterministic=not train)(y)
        return x + StochasticDepth(self.drop_path_rescaled)(y, drop_path_rate, train=train)


class TinyAttention(nn.Module):
    """Single-head attention from the normalised input of a block to the width of its gate."""

    head_dim: int
    out_dim: int
    dropout_rate: float = 0.0  # Of the attention weights.
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: jax.Array, mask: jax.Array | None = None, *, train: bool = False
    ) -> jax.Array:
        """Maps [B, S, C] to [B, S, O]; tokens where `mask` [B, S] is zero are not attended to."""
        qkv = Dense(3 * self.head_dim, dtype=self.dtype, name="qkv")(x)
        query, key, value = jnp.split(qkv, 3, axis=-1)  # [B, S, A] each.
        scores = jnp.einsum(
            "bia,bja->bij", query, key, preferred_element_type=jnp.float32
        )  # [B, S, S]
        if mask is not None:
            scores = jnp.where(mask[:, None, :] > 0, scores, jnp.finfo(scores.dtype).min)
        weights = jax.nn.softmax(scores / self.head_dim**0.5).astype(self.dtype)
        self.sow("intermediates", "weights", weights)  # For inspection.
        weights = nn.Dropout(self.dropout_rate, deterministic=not train)(weights)
        mixed = jnp.einsum("bij,bja->bia", weights, value)
        return Dense(self.out_dim, dtype=self.dtype, name="out")(mixed)
