"""Model specs from configs.

Fields that are not set come from the initial weights, or have defaults without weights.
"""

import operator
from typing import Any

from mlp_core.errors import UserError
from mlp_vision.models.layers import check_patch_size
from mlp_vision.models.model_spec import ModelSpec
from mlp_vision.models.registry import ARCHITECTURES, find_model, missing_sizes
from mlp_vision.tasks.config import ImageClassificationConfig

RANDOM_START_PRESET = {"eval_preset": "squash"}
# Fields of any architecture in the config group `model`.
MODEL_FIELDS = {f for a in ARCHITECTURES.values() for f in (*a.SIZES, *a.NUMERICS)}


def wanted_spec(
    settings: ImageClassificationConfig,
    start: ModelSpec | None,
    num_classes: int,
    class_names: tuple[str, ...] = (),
) -> ModelSpec:
    """Returns the model of a run that starts from weights of `start`, or at random.

    Raises:
        UserError: the model is unknown, a size is missing, or the patch size does not divide
          the image size.
    """
    architecture, sizes = _sizes(settings, start)
    missing = [f"config.model.{name}" for name in missing_sizes(architecture, sizes)]
    if missing:
        raise UserError(f"the model {settings.model.name!r} needs {', '.join(missing)}.")
    numerics = numeric_places(architecture)
    defaults = {**architecture.GOOGLE_NUMERICS, **RANDOM_START_PRESET}
    theirs = {name: getattr(start, name) for name in numerics if hasattr(start, name)}
    settled = dict(
        num_classes=num_classes,
        image_size=settings.data.image_size,
        output=settings.loss.name,
        class_names=class_names,
    )
    chosen = _numerics_set(settings, architecture)
    spec = architecture(**(defaults | theirs | chosen | sizes | settled))
    spec.check_permutation()
    return spec


def departures(settings: ImageClassificationConfig, start: ModelSpec) -> list[str]:
    """Returns a line for each number in the config that differs from the weights' training.

    The eval preset is excluded, since a recipe may choose another.
    """
    places = numeric_places(type(start))
    return [
        f"Note: config.{places[field]}={value}, but the weights were trained with "
        f"{getattr(start, field)}."
        for field, value in _numerics_set(settings, type(start)).items()
        if field != "eval_preset" and value != getattr(start, field)
    ]


def numeric_places(architecture: type[ModelSpec]) -> dict[str, str]:
    """Maps spec fields of numerics and preprocessing to their config fields."""
    places = {name: f"model.{name}" for name in architecture.NUMERICS}
    data = ("eval_preset", "value_range", "permutation", "permuted_patch")
    return places | {name: f"data.{name}" for name in data}


def _sizes(
    settings: ImageClassificationConfig, start: ModelSpec | None
) -> tuple[type[ModelSpec], dict[str, Any]]:
    """Returns architecture and sizes, without unknown ones."""
    image_size = settings.data.image_size
    architecture, named = find_model(settings.model.name)
    own = (*architecture.SIZES, *architecture.NUMERICS)
    for name in sorted(MODEL_FIELDS - set(own)):
        if getattr(settings.model, name) is not None:
            raise UserError(
                f"config.model.{name}: {architecture.TITLE} has no such field; it has "
                f"{', '.join(own)}."
            )
    fields = {name: getattr(settings.model, name) for name in architecture.SIZES}
    sizes = {**named, **{name: value for name, value in fields.items() if value is not None}}
    if isinstance(start, architecture):
        sizes = start.sizes_at(image_size, sizes)
    if "patch_size" in sizes:
        try:
            check_patch_size(sizes["patch_size"], (image_size, image_size))
        except UserError as error:
            place = "config.data.image_size, config.model.patch_size"
            raise UserError(f"{place}: {error}") from None
    return architecture, sizes


def _numerics_set(
    settings: ImageClassificationConfig, architecture: type[ModelSpec]
) -> dict[str, Any]:
    """Returns the numerics that the config sets."""
    values = {
        name: operator.attrgetter(place)(settings)
        for name, place in numeric_places(architecture).items()
    }
    return {name: value for name, value in values.items() if value is not None}
