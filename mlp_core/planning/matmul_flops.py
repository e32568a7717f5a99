"""Floating-point operations of the matrix products and convolutions in a traced function.

They are counted before a compiler sees them, so that the number is the same for every device, and
loops count as often as they go round.
"""

import math
from collections.abc import Iterator

import flax.linen as nn
import jax
from jax.extend import core

from mlp_core.nn.parameters import count


def matmul_flops(traced: core.ClosedJaxpr) -> float:
    """Of one call, over all devices; `traced` is what `jax.make_jaxpr` gives.

    A multiplication and the addition behind it are two. What is computed anew to save memory
    counts. Of branches the costliest counts, and a loop that ends by a condition once.
    """
    return _count(traced.jaxpr)


def _count(jaxpr: core.Jaxpr) -> float:
    total = 0.0
    for equation in jaxpr.eqns:
        match equation.primitive.name:
            case "dot_general":
                (contracted, _), _ = equation.params["dimension_numbers"]
                lhs, out = equation.invars[0].aval, equation.outvars[0].aval
                total += 2.0 * out.size * math.prod(lhs.shape[axis] for axis in contracted)
            case "conv_general_dilated":
                kernel, out = equation.invars[1].aval, equation.outvars[0].aval
                features = kernel.shape[equation.params["dimension_numbers"].rhs_spec[0]]
                total += 2.0 * out.size * kernel.size / features
            case "scan":
                total += equation.params["length"] * sum(map(_count, _inside(equation)))
            case "cond":
                total += max(map(_count, _inside(equation)))
            case _:
                total += sum(map(_count, _inside(equation)))
    return total


def _inside(equation: core.JaxprEqn) -> Iterator[core.Jaxpr]:
    """The functions that an equation calls."""
    for value in equation.params.values():
        for part in value if isinstance(value, tuple | list) else (value,):
            if isinstance(part, core.ClosedJaxpr):
                yield part.jaxpr
            elif isinstance(part, core.Jaxpr):
                yield part


def costs_of(model: nn.Module, example: jax.ShapeDtypeStruct) -> dict[str, float]:
    """{"parameters": in millions, "gflops": of the forward pass of `example`}."""
    # The initial values are no products.
    trace = jax.make_jaxpr(model.init_with_output, return_shape=True)
    traced, (_, variables) = trace(jax.random.key(0), example)
    return {"parameters": count(variables) / 1e6, "gflops": matmul_flops(traced) / 1e9}
