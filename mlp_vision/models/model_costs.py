"""Parameters and arithmetic of a model, from its shapes alone."""

from typing import Any

import jax
import jax.numpy as jnp

from mlp_core.planning.matmul_flops import costs_of
from mlp_vision.models.registry import create_model, find_model


def model_costs(name: str, num_classes: int, image_size: int, **fields: Any) -> dict[str, float]:
    """Of a model by name: {"parameters": in millions, "gflops": of one picture, forward}."""
    if "scan_layers" in find_model(name)[0].MODULE.__dataclass_fields__:
        fields = {"scan_layers": True, **fields}  # Traced in a fraction of the time.
    model = create_model(name, num_classes, **fields)
    picture = jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.float32)
    return costs_of(model, picture)
