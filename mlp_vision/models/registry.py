"""Models by name, with the sizes of the papers; any field may be overridden. Also model costs."""

import itertools
from collections.abc import Mapping
from typing import Any, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp

from mlp_core.errors import UserError
from mlp_core.nn.mlp import GELU_FORMS
from mlp_core.planning.matmul_flops import costs_of
from mlp_vision.models.gmlp import Gating, GmlpSpec, Pooling, SpatialMatrix
from mlp_vision.models.mixer import MixerSpec
from mlp_vision.models.model_spec import ModelSpec
from mlp_vision.models.resnet import ResNetSpec
from mlp_vision.models.vit import VitSpec

ARCHITECTURES: dict[str, type[ModelSpec]] = {
    "mixer": MixerSpec,
    "gmlp": GmlpSpec,
    "vit": VitSpec,
    "resnet": ResNetSpec,
}

# Architecture and fixed fields of each model name.
MODELS: dict[str, tuple[type[ModelSpec], Mapping[str, Any]]] = {
    name: (architecture, fields)
    for architecture in ARCHITECTURES.values()
    for name, fields in architecture.MODELS.items()
}

# See `distributed.sharding`. The head is split along its input, since the number of classes is
# rarely divisible.
TENSOR_PARALLEL = (
    *itertools.chain.from_iterable(a.TENSOR_PARALLEL for a in ARCHITECTURES.values()),
    "head/kernel=model,-",
)

CHOICES = {
    "gelu": GELU_FORMS,
    "gating": get_args(Gating),
    "spatial_matrix": get_args(SpatialMatrix),
    "pooling": get_args(Pooling),
}


def create_model(name: str, num_classes: int, **overrides: Any) -> nn.Module:
    """Creates a model by name, as in `create_model("mixer_s16", num_classes=10)`.

    Args:
      name: one of `MODELS`.
      num_classes: width of the head; 0 for pooled features.
      **overrides: any field of the module, such as `patch_size` or `dtype`.

    Raises:
        UserError: the name or a field is unknown, or a size is missing.
    """
    architecture, named = find_model(name)
    fields = {**named, **overrides}
    module = architecture.MODULE
    known = {field for field in module.__dataclass_fields__ if field not in ("parent", "name")}
    for field in fields.keys() - known:
        raise UserError(
            f"model {name!r} has no field {field!r}; it has {', '.join(sorted(known))}."
        )
    for field, choices in CHOICES.items():
        if field in fields and fields[field] not in choices:
            raise UserError(f"{field}={fields[field]!r} is none of {', '.join(choices)}.")
    missing = missing_sizes(architecture, fields)
    if missing:
        raise UserError(f"model {name!r} needs {', '.join(missing)}.")
    return module(num_classes=num_classes, **fields)


def find_model(name: str) -> tuple[type[ModelSpec], Mapping[str, Any]]:
    """Returns the architecture of a model and the fields that its name fixes.

    Raises:
        UserError: the model is unknown.
    """
    if name not in MODELS:
        raise UserError(f"there is no model {name!r}; choose from {', '.join(sorted(MODELS))}.")
    return MODELS[name]


def missing_sizes(architecture: type[ModelSpec], fields: Mapping[str, Any]) -> list[str]:
    """Returns the required sizes that are neither in `fields` nor have a default."""
    there = {**architecture.default_sizes(), **fields}
    return [name for name in architecture.SIZES if name not in there]


def model_costs(name: str, num_classes: int, image_size: int, **fields: Any) -> dict[str, float]:
    """Returns {"parameters": in millions, "gflops": of one image, forward} of a named model."""
    if "scan_layers" in find_model(name)[0].MODULE.__dataclass_fields__:
        fields = {"scan_layers": True, **fields}  # Traces much faster.
    model = create_model(name, num_classes, **fields)
    picture = jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.float32)
    return costs_of(model, picture)
