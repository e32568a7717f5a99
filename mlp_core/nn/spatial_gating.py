"""The spatial gating unit (Pay Attention to MLPs, section 2.1), full or Toeplitz.

Shapes: B batch, S tokens, G gated channels.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mlp_core.errors import UserError

# Variants of s(Z) in the paper's table 3, for activations Z; f mixes tokens.
GATINGS = {
    "split": lambda bypass, gate: bypass * gate,  # Z1 * f(Z2) for the two halves of Z.
    "multiplicative": lambda bypass, gate: bypass * gate,  # Z * f(Z)
    "additive": lambda bypass, gate: bypass + gate,  # Z + f(Z)
    "linear": lambda bypass, gate: gate,  # f(Z)
}

# The paper only says "near zero"; this is timm's value.
near_zero = nn.initializers.normal(1e-6)


class SpatialProjection(nn.Module):
    """Mixes tokens with the same linear map over positions for every channel.

    `kernel` is W [S, S], where W[i, j] is the weight of token j at position i, or the Toeplitz
    vector [2 S - 1] that defines it; initialised near zero. `bias` [S] is initialised to one, so
    that a gate starts open.

    `num_tokens`, if set, is the S of the parameters, and inputs may differ: see `fit_spatial`.
    """

    spatial_matrix: str = "full"
    num_tokens: int | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [B, S, G] to [B, S, G].

        Raises:
            UserError: the matrix is full and the input is longer than it.
        """
        tokens = self.num_tokens or x.shape[-2]
        shape = {"full": (tokens, tokens), "toeplitz": (2 * tokens - 1,)}[self.spatial_matrix]
        kernel = self.param("kernel", near_zero, shape)
        bias = self.param("bias", nn.initializers.ones, (tokens,))
        kernel, bias = fit_spatial(kernel, bias, x.shape[-2])
        matrix = kernel if self.spatial_matrix == "full" else toeplitz_matrix(kernel)
        x, matrix, bias = nn.dtypes.promote_dtype(x, matrix, bias, dtype=self.dtype)
        return jnp.einsum("ij,bjg->big", matrix, x) + bias[None, :, None]


def fit_spatial(kernel: jax.Array, bias: jax.Array, tokens: int) -> tuple[jax.Array, jax.Array]:
    """Fits the kernel and bias of a `SpatialProjection` to sequences of another length.

    Shorter ones use the bias and, of a full matrix, the rows and columns of the first positions. A
    Toeplitz vector is cropped or extended (appendix C); new positions use the bias of the last one,
    which the paper does not specify.

    Raises:
        UserError: a full matrix has no weights for more tokens.
    """
    longer = tokens - bias.shape[0]
    if kernel.ndim == 1:
        kernel = resize_vector(kernel, tokens)
    elif longer > 0:
        raise UserError(
            f"{tokens} tokens are more than the {bias.shape[0]} that a full spatial matrix has "
            "weights for; shorten the input, or train with spatial_matrix=toeplitz."
        )
    else:
        kernel = kernel[:tokens, :tokens]
    return kernel, jnp.pad(bias, (0, max(longer, 0)), mode="edge")[:tokens]


class SpatialGatingUnit(nn.Module):
    """Gates activations by a linear map over the tokens.

    Only the half that forms the gate is normalised first (section 2.1).
    """

    gating: str = "split"
    spatial_matrix: str = "full"
    layer_norm_epsilon: float = 1e-6
    num_tokens: int | None = None  # Of the parameters; None: of the input.
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        bypass: jax.Array,
        gate: jax.Array,
        attention: jax.Array | None = None,
        mask: jax.Array | None = None,
    ) -> jax.Array:
        """Maps [B, S, G] and [B, S, G], the same array unless split, to [B, S, G].

        `attention` [B, S, G], if given, is added to the gate before it is applied (figure 6).
        Tokens where `mask` [B, S] is zero do not affect the others.
        """
        gate = nn.LayerNorm(epsilon=self.layer_norm_epsilon, dtype=self.dtype, name="norm")(gate)
        if mask is not None:
            gate = gate * mask[..., None].astype(gate.dtype)
        gate = SpatialProjection(self.spatial_matrix, self.num_tokens, self.dtype, name="spatial")(
            gate
        )
        if attention is not None:
            gate = gate + attention
        return GATINGS[self.gating](bypass, gate)


def toeplitz_matrix(vector: jax.Array) -> jax.Array:
    """Makes the matrix [n, n] of a vector [2n - 1], by reshaping for a cheap gradient."""
    n = (vector.shape[0] + 1) // 2
    period = jnp.pad(vector, (0, 1))  # [2n]; rows of 2n - 1 shift it by one each.
    return jnp.tile(period, n)[:-n].reshape(n, 2 * n - 1)[:, n - 1 :]


def resize_vector(vector: jax.Array, n: int) -> jax.Array:
    """Resizes a Toeplitz vector to n tokens: crops to its middle, or pads new distances with 0."""
    longer = n - (vector.shape[0] + 1) // 2  # Tokens, and weights at either end.
    return jnp.pad(vector, longer) if longer > 0 else vector[-longer : vector.shape[0] + longer]
