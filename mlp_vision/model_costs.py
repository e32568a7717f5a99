"""Parameters and arithmetic of a model, from its shapes alone."""

from typing import Any

import jax
import jax.numpy as jnp

from mlp_core.parameters import count
from mlp_core.planning.matmul_flops import matmul_flops
from mlp_vision.models import create_model, find_model


def model_costs(name: str, num_classes: int, image_size: int, **fields: Any) -> dict[str, float]:
    """Of a model by name: {"parameters": in millions, "gflops": of one picture, forward}."""
    if "scan_layers" in find_model(name)[0].MODULE.__dataclass_fields__:
        fields = {"scan_layers": True, **fields}  # Traced in a fraction of the time.
    model = create_model(name, num_classes, **fields)
    picture = jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.float32)
    # The initial values are no products.
    trace = jax.make_jaxpr(model.init_with_output, return_shape=True)
    traced, (_, variables) = trace(jax.random.key(0), picture)
    return {"parameters": count(variables) / 1e6, "gflops": matmul_flops(traced) / 1e9}
