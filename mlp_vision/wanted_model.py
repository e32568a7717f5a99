"""The model that a configuration asks for.

A field that is set holds; one that is not is as in the weights that a run starts from, and has a
default where it starts at random.
"""

import math

from mlp_core.errors import UserError
from mlp_vision.config import ImageClassificationConfig
from mlp_vision.mixer import check_patch_size
from mlp_vision.model_spec import GOOGLE_NUMERICS, ModelSpec
from mlp_vision.models import SIZE_FIELDS, find_model

RANDOM_START_NUMERICS = GOOGLE_NUMERICS | {"eval_preset": "squash"}
NUMERIC_FIELDS = {  # By field of the spec: where the configuration has it.
    "gelu": "model.gelu",
    "layer_norm_epsilon": "model.layer_norm_epsilon",
    "eval_preset": "data.eval_preset",
    "value_range": "data.value_range",
}


def wanted_spec(
    settings: ImageClassificationConfig,
    start: ModelSpec | None,
    num_classes: int,
    class_names: tuple[str, ...] = (),
) -> ModelSpec:
    """The model of a run that starts from weights of `start`, or at random.

    Raises:
        UserError: there is no such model, a size is missing, or the patch size does not divide
          the image size.
    """
    sizes = _sizes(settings, start)
    missing = [f"config.model.{name}" for name in SIZE_FIELDS if name not in sizes]
    if missing:
        raise UserError(f"the model {settings.model.name!r} needs {', '.join(missing)}.")
    numerics = {field: getattr(start, field) for field in NUMERIC_FIELDS} if start else {}
    return ModelSpec(
        **sizes,
        **(RANDOM_START_NUMERICS | numerics | _numerics_set(settings)),
        num_classes=num_classes,
        image_size=settings.data.image_size,
        output=settings.loss.name,
        class_names=class_names,
    )


def departures(settings: ImageClassificationConfig, start: ModelSpec) -> list[str]:
    """A line for each number that the configuration sets otherwise than the weights were trained.

    The eval preset is no such number: a recipe may well choose another.
    """
    return [
        f"Note: config.{NUMERIC_FIELDS[field]}={value}, but the weights were trained with "
        f"{getattr(start, field)}."
        for field, value in _numerics_set(settings).items()
        if field != "eval_preset" and value != getattr(start, field)
    ]


def _sizes(settings: ImageClassificationConfig, start: ModelSpec | None) -> dict[str, int]:
    image_size = settings.data.image_size
    fields = {name: getattr(settings.model, name) for name in SIZE_FIELDS}
    fields = {name: value for name, value in fields.items() if value is not None}
    named = find_model(settings.model.name)[1] | fields
    sizes = (start.sizes if start else {}) | named
    if "patch_size" in sizes:
        try:
            check_patch_size(sizes["patch_size"], (image_size, image_size))
        except UserError as error:
            raise UserError(f"config.data.image_size, config.model.patch_size: {error}") from None
    if start and sizes["patch_size"] == start.patch_size:
        width = named.get("tokens_mlp_dim", start.tokens_mlp_dim)
        factor = math.isqrt(start.tokens_mlp_dim // width)
        if start.tokens_mlp_dim == factor**2 * width:  # Theirs, perhaps at a higher resolution.
            sizes["tokens_mlp_dim"] = start.at_image_size(image_size).tokens_mlp_dim
    return sizes


def _numerics_set(settings: ImageClassificationConfig) -> dict[str, object]:
    """The numerics that the configuration itself sets."""
    values = {}
    for field, place in NUMERIC_FIELDS.items():
        group, name = place.split(".")
        values[field] = getattr(getattr(settings, group), name)
    return {field: value for field, value in values.items() if value is not None}
