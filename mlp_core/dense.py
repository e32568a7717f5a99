"""Dense layers, by the product that suits the platform.

Shapes: C channels in, E out.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mlp_core.platform_forms import dot_general

Dense = functools.partial(nn.Dense, dot_general=dot_general)


class SplitDense(nn.Module):
    """Parameters and results of `nn.Dense`, split over the last axis.

    Each part is a product of its own, so that in training no gradients of parts have to be put
    together in memory before they go back through the layer.
    """

    features: int
    num_parts: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> list[jax.Array]:
        """Maps [B, S, C] to `num_parts` times [B, S, E / num_parts]; E must be divisible."""
        shape = (x.shape[-1], self.features)
        kernel = self.param("kernel", nn.linear.default_kernel_init, shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        kernels, biases = (jnp.split(p, self.num_parts, axis=-1) for p in (kernel, bias))
        last_with_first = (((x.ndim - 1,), (0,)), ((), ()))
        return [
            dot_general(x, kernel, last_with_first) + bias[None, None]
            for kernel, bias in zip(kernels, biases, strict=True)
        ]
