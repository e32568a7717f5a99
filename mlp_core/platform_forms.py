"""Forms of a computation that the compiler of one platform needs, and others do better without.

The platform is the one that a program is compiled for, which need not be this machine.
"""

import functools
from typing import Any

import jax


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3, 4))
def dot_general(
    x: jax.Array,
    kernel: jax.Array,
    dimension_numbers: jax.lax.DotDimensionNumbers,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> jax.Array:
    """`jax.lax.dot_general` of [..., C] and [C, E] to [..., E], for `flax.linen.Dense`.

    On CPUs the gradient of the kernel contracts one axis: all but the last of the activations are
    made one. To contract several, XLA transposes the activations in memory, and an MLP takes two to
    four times as long. On TPUs the reshaped arrays would have other tiles, and be copied.
    """
    return jax.lax.dot_general(x, kernel, dimension_numbers, precision, preferred_element_type)


@dot_general.defjvp
def _dot_general_jvp(dimension_numbers, precision, preferred_element_type, primals, tangents):
    def product(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return jax.lax.dot_general(x, kernel, dimension_numbers, precision, preferred_element_type)

    def product_of_rows(x: jax.Array, kernel: jax.Array) -> jax.Array:
        rows = x.reshape(-1, x.shape[-1])
        numbers = (((1,), (0,)), ((), ()))
        y = jax.lax.dot_general(rows, kernel, numbers, precision, preferred_element_type)
        return y.reshape(*x.shape[:-1], -1)

    (x, kernel), (x_tangent, kernel_tangent) = primals, tangents
    by_kernel = jax.lax.platform_dependent(x, kernel_tangent, cpu=product_of_rows, default=product)
    return product(x, kernel), product(x_tangent, kernel) + by_kernel


def materialized(x: jax.Array) -> jax.Array:
    """Maps `x` to itself; on CPUs XLA computes it, and the gradient that comes back, once.

    XLA's CPU backend copies cheap operations into every fusion that uses their result. Those along
    skip connections grow with each block, so that the time grows with the square of the depth.
    Needs `compiler_options`: by default XLA drops barriers on CPUs before it fuses.
    """
    return jax.lax.platform_dependent(x, cpu=jax.lax.optimization_barrier, default=lambda x: x)
