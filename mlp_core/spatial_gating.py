"""The spatial gating unit (Pay Attention to MLPs, section 2.1): tokens are mixed by a gate.

Shapes: B batch, S tokens, E channels in, G channels that are gated: E / 2 where they are split.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mlp_core.toeplitz import toeplitz_matrix

# The forms of the paper's table 3, s of the activations Z; f mixes tokens.
GATINGS = {
    "split": lambda bypass, gate: bypass * gate,  # Z1 * f(Z2), of the two halves of Z.
    "multiplicative": lambda bypass, gate: bypass * gate,  # Z * f(Z)
    "additive": lambda bypass, gate: bypass + gate,  # Z + f(Z)
    "linear": lambda bypass, gate: gate,  # f(Z)
}

# "Near zero" is all that the paper says; this is timm's number.
near_zero = nn.initializers.normal(1e-6)


class SpatialProjection(nn.Module):
    """Mixes tokens: the same linear map over positions for every channel.

    `kernel` is W [S, S], whose W[i, j] says how much token j adds to position i, or the Toeplitz
    vector [2 S - 1] that makes it; near zero at first. `bias` [S] is one at first, so that a gate
    starts out open.
    """

    spatial_matrix: str = "full"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [B, S, G] to [B, S, G]."""
        tokens = x.shape[-2]
        shape = {"full": (tokens, tokens), "toeplitz": (2 * tokens - 1,)}[self.spatial_matrix]
        kernel = self.param("kernel", near_zero, shape)
        bias = self.param("bias", nn.initializers.ones, (tokens,))
        matrix = kernel if self.spatial_matrix == "full" else toeplitz_matrix(kernel)
        x, matrix, bias = nn.dtypes.promote_dtype(x, matrix, bias, dtype=self.dtype)
        return jnp.einsum("ij,bjg->big", matrix, x) + bias[None, :, None]


class SpatialGatingUnit(nn.Module):
    """Gates activations by a linear map over the tokens.

    The half that makes the gate is normalised before, the other is not (section 2.1).
    """

    gating: str = "split"
    spatial_matrix: str = "full"
    layer_norm_epsilon: float = 1e-6
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, z: jax.Array, attention: jax.Array | None = None) -> jax.Array:
        """Maps [B, S, E] to [B, S, G].

        `attention` [B, S, G], where there is one, is added to the gate before it acts (figure 6).
        """
        bypass, gate = jnp.split(z, 2, axis=-1) if self.gating == "split" else (z, z)
        gate = nn.LayerNorm(epsilon=self.layer_norm_epsilon, dtype=self.dtype, name="norm")(gate)
        gate = SpatialProjection(self.spatial_matrix, self.dtype, name="spatial")(gate)
        if attention is not None:
            gate = gate + attention
        return GATINGS[self.gating](bypass, gate)
