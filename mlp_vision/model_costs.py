"""Parameters and arithmetic of a model, from its shapes alone."""

from typing import Any

import jax
import jax.numpy as jnp

from mlp_core.parameters import count
from mlp_core.planning.matmul_flops import matmul_flops
from mlp_vision.models import create_model


def model_costs(name: str, num_classes: int, image_size: int, **fields: Any) -> dict[str, float]:
    """Of a model by name: {"parameters": in millions, "gflops": of one picture, forward}."""
    model = create_model(name, num_classes, **fields)
    picture = jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), picture)
    flops = matmul_flops(jax.make_jaxpr(model.apply)(variables, picture))
    return {"parameters": count(variables) / 1e6, "gflops": flops / 1e9}
