"""Parameters and arithmetic of a model, from its shapes alone."""

import flax.linen as nn
import jax

from mlp_core.nn.parameters import count
from mlp_core.planning.matmul_flops import matmul_flops


def costs_of(model: nn.Module, example: jax.ShapeDtypeStruct) -> dict[str, float]:
    """{"parameters": in millions, "gflops": of the forward pass of `example`}."""
    # The initial values are no products.
    trace = jax.make_jaxpr(model.init_with_output, return_shape=True)
    traced, (_, variables) = trace(jax.random.key(0), example)
    return {"parameters": count(variables) / 1e6, "gflops": matmul_flops(traced) / 1e9}
