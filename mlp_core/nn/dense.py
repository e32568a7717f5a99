"""Dense layers, and barriers between blocks, in platform-specific forms that XLA compiles well.

Shapes: C channels in, E out.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


@jax.custom_jvp
def affine(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """Maps [..., C], [C, E] and [E] to `x @ kernel + bias`, [..., E].

    On CPUs the gradients of kernel and bias sum over one axis: all axes of the activations but the
    last are merged. To sum over several, XLA transposes the activations in memory and reduces them
    slowly, which makes an MLP two to four times slower. On TPUs the reshaped arrays would have
    another tiling and be copied.
    """
    return _affine(x, kernel, bias)


@affine.defjvp
def _affine_jvp(
    primals: tuple[jax.Array, ...], tangents: tuple[jax.Array, ...]
) -> tuple[jax.Array, jax.Array]:
    (x, kernel, bias), (x_tangent, *tangents_of_weights) = primals, tangents
    by_weights = jax.lax.platform_dependent(
        x, *tangents_of_weights, cpu=_affine_of_rows, default=_affine
    )
    return _affine(x, kernel, bias), x_tangent @ kernel + by_weights


def _affine(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    return x @ kernel + jnp.expand_dims(bias, range(x.ndim - 1))


def _affine_of_rows(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    y = _affine(x.reshape(-1, x.shape[-1]), kernel, bias)
    # Otherwise XLA moves the reshape of the gradient behind the sum for the bias.
    return jax.lax.optimization_barrier(y).reshape(*x.shape[:-1], -1)


def materialized(x: jax.Array) -> jax.Array:
    """Returns `x`; on CPUs XLA computes it, and its gradient, only once.

    XLA's CPU backend duplicates cheap operations into every fusion that uses their result. Those
    along skip connections accumulate with each block, so that time grows with the square of the
    depth. Needs `compiler_options`: by default XLA drops barriers on CPUs before fusion.
    """
    return jax.lax.platform_dependent(x, cpu=jax.lax.optimization_barrier, default=lambda x: x)


class Dense(nn.Module):
    """A dense layer with the parameters and results of `nn.Dense`."""

    features: int
    dtype: Any = jnp.float32
    kernel_init: nn.initializers.Initializer = nn.linear.default_kernel_init

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [..., C] to [..., E]."""
        return affine(*_weights(self, x))


class SplitDense(nn.Module):
    """A dense layer with the parameters and results of `nn.Dense`, split over the last axis.

    Each part is a separate product, so that in training the gradients of the parts are not
    concatenated in memory for the backward pass of the layer.
    """

    features: int
    num_parts: int
    dtype: Any = jnp.float32
    kernel_init: nn.initializers.Initializer = nn.linear.default_kernel_init

    @nn.compact
    def __call__(self, x: jax.Array) -> list[jax.Array]:
        """Maps [..., C] to `num_parts` arrays [..., E / num_parts]; E must be divisible."""
        x, *weights = _weights(self, x)
        parts = (jnp.split(weight, self.num_parts, axis=-1) for weight in weights)
        return [affine(x, kernel, bias) for kernel, bias in zip(*parts, strict=True)]


def _weights(layer: Dense | SplitDense, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns input, kernel [C, E] and bias [E] of a layer, in its compute dtype."""
    kernel = layer.param("kernel", layer.kernel_init, (x.shape[-1], layer.features))
    bias = layer.param("bias", nn.initializers.zeros, (layer.features,))
    return nn.dtypes.promote_dtype(x, kernel, bias, dtype=layer.dtype)
