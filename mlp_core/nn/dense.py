"""Dense layers, in the form that suits the platform.

Shapes: C channels in, E out.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mlp_core.nn.platform_forms import affine


class Dense(nn.Module):
    """Parameters and results of `nn.Dense`."""

    features: int
    dtype: Any = jnp.float32
    kernel_init: nn.initializers.Initializer = nn.linear.default_kernel_init

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [..., C] to [..., E]."""
        return affine(*_weights(self, x))


class SplitDense(nn.Module):
    """Parameters and results of `nn.Dense`, split over the last axis.

    Each part is a product of its own, so that in training no gradients of parts have to be put
    together in memory before they go back through the layer.
    """

    features: int
    num_parts: int
    dtype: Any = jnp.float32
    kernel_init: nn.initializers.Initializer = nn.linear.default_kernel_init

    @nn.compact
    def __call__(self, x: jax.Array) -> list[jax.Array]:
        """Maps [..., C] to `num_parts` times [..., E / num_parts]; E must be divisible."""
        x, *weights = _weights(self, x)
        parts = (jnp.split(weight, self.num_parts, axis=-1) for weight in weights)
        return [affine(x, kernel, bias) for kernel, bias in zip(*parts, strict=True)]


def _weights(layer: Dense | SplitDense, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The input, kernel [C, E] and bias [E] of a layer, in the type of its arithmetic."""
    kernel = layer.param("kernel", layer.kernel_init, (x.shape[-1], layer.features))
    bias = layer.param("bias", nn.initializers.zeros, (layer.features,))
    return nn.dtypes.promote_dtype(x, kernel, bias, dtype=layer.dtype)
