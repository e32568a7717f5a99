"""The spatial gating unit (Pay Attention to MLPs, section 2.1), full or Toeplitz.

Shapes: B batch, S tokens, G channels that are gated.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mlp_core.errors import UserError

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

    With `num_tokens` that is the S of the parameters, and inputs may have another: see
    `fit_spatial`.
    """

    spatial_matrix: str = "full"
    num_tokens: int | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [B, S, G] to [B, S, G].

        Raises:
            UserError: the matrix is full and the input longer than it.
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
    """The kernel and bias of a `SpatialProjection` for sequences of another length.

    Shorter ones use the bias and, of a full matrix, the rows and columns of the first positions. A
    Toeplitz vector is cropped or extended (appendix C); positions that are new have the bias of the
    last one, of which the paper says nothing.

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

    The half that makes the gate is normalised before, the other is not (section 2.1).
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
        """Maps [B, S, G] and [B, S, G], the same where nothing is split, to [B, S, G].

        `attention` [B, S, G], where there is one, is added to the gate before it acts (figure 6).
        Where `mask` [B, S] is zero, a token adds nothing to the others.
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
    """The matrix [n, n] of a vector [2n - 1]; made by reshaping, so that its gradient is cheap."""
    n = (vector.shape[0] + 1) // 2
    period = jnp.pad(vector, (0, 1))  # [2n]; a row one shorter than it moves each row by one.
    return jnp.tile(period, n)[:-n].reshape(n, 2 * n - 1)[:, n - 1 :]


def resize_vector(vector: jax.Array, n: int) -> jax.Array:
    """A vector for n tokens: its middle, or with zeros for distances that it does not know."""
    longer = n - (vector.shape[0] + 1) // 2  # Tokens, and weights at either end.
    return jnp.pad(vector, longer) if longer > 0 else vector[-longer : vector.shape[0] + longer]
