"""Loads weights into a model: checks sizes, adapts resolution and head, reports each in a line."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from mlp_core.data.classes import class_conflict
from mlp_core.errors import UserError
from mlp_core.nn.parameters import unflatten
from mlp_core.process.console import say
from mlp_vision.models.model_spec import ModelSpec
from mlp_vision.models.registry import find_model
from mlp_vision.weights.loading import Weights, expected_params, open_weights
from mlp_vision.weights.published_weights import locate_weights

Head = Literal["reset", "keep", "auto"]
HEAD = ("head/kernel", "head/bias")


def announcement(start: ModelSpec, wanted: ModelSpec) -> str:
    """Describes what `change_resolution` does in a line; empty if nothing changes."""
    if start.image_size == wanted.image_size:
        return ""
    sizes = f"Resolution: {start.image_size} to {wanted.image_size} pixels"
    return f"{sizes}{start.resolution_change(wanted)}."


def change_resolution(
    arrays: Mapping[str, np.ndarray], start: ModelSpec, wanted: ModelSpec
) -> dict[str, np.ndarray]:
    """Converts named parameters of `start` to those of `wanted`, which must be compatible."""
    if start.image_size == wanted.image_size:
        return dict(arrays)
    return start.resized(arrays, wanted)


def load_pretrained(
    source: str | Path,
    *,
    model: str | None = None,
    num_classes: int | None = None,
    image_size: int | None = None,
    head: Head = "auto",
    mirror: str | None = None,
    dtype: Any = jnp.float32,
) -> tuple[nn.Module, dict[str, Any]]:
    """Returns a model with published, exported or trained weights, and their GELU and epsilon.

    `model.apply({"params": params}, images)` gives logits. Images are float,
    [B, image_size, image_size, 3], in the value range in `describe_weights`: from -1 to 1 for
    Google's weights.

    Args:
      source: a published name such as "imagenet21k/Mixer-B_16", "hf://timm/NAME", a URL, a weight
        file, or the directory of a run.
      model: name of the expected model; None for any.
      num_classes: width of the head; None: as in the weights; 0: pooled features without a head.
      image_size: pixels per side; None: as in the weights.
      head: "keep", "reset" to zeros, or "auto": keep it if the class counts agree.
      mirror: a directory or URL for published names, instead of Google's bucket.
      dtype: of the computation; parameters are float32.

    Raises:
        UserError: the weights are unavailable, damaged, or do not fit the arguments.
    """
    weights = open_weights(locate_weights(str(source), mirror))
    spec = weights.spec.adapted(image_size, num_classes=num_classes)
    if model is not None:
        spec = _named(model, weights, spec)
    return spec.create_model(dtype), load_params(weights, spec, head)


def _named(model: str, weights: Weights, spec: ModelSpec) -> ModelSpec:
    """Returns `spec` with the sizes of the named model, so that a wrong name is reported."""
    architecture, named = find_model(model)
    if not isinstance(spec, architecture):
        raise UserError(f"{weights.path}: holds {spec.TITLE}, not {model}.")
    return dataclasses.replace(spec, **weights.spec.sizes_at(spec.image_size, named))


def describe_weights(source: str | Path, mirror: str | None = None) -> ModelSpec:
    """Returns sizes, numerics, preprocessing and class names of weights; fetches them if needed.

    Raises:
        UserError: the weights are unavailable or damaged.
    """
    return open_weights(locate_weights(str(source), mirror)).spec


def load_params(
    weights: Weights, spec: ModelSpec, head: Head, head_bias: float = 0.0
) -> dict[str, Any]:
    """Loads parameters for the model of `spec`, as float32 numpy arrays.

    A new head is zero except for its bias, `head_bias`. Prints a line each about the head and the
    resolution.

    Raises:
        UserError: the arrays do not fit, see `check_fit`, or cannot be read.
    """
    keeps_head = check_fit(weights, spec, head)
    arrays = change_resolution(weights.read(), weights.spec, spec)
    expected = expected_params(spec.create_model(), spec.image_size)
    classes = weights.spec.num_classes
    if keeps_head:
        fate = f"with its head of {classes:,} classes"
    elif spec.num_classes == 0:
        fate = f"without its head of {classes:,} classes" if classes else "which has no head"
    else:
        fate = f"with a zero head of {spec.num_classes:,} classes in place of its {classes:,}"
        kernel, bias = (expected[name].shape for name in HEAD)
        new_head = np.zeros(kernel, np.float32), np.full(bias, head_bias, np.float32)
        arrays |= dict(zip(HEAD, new_head, strict=True))
    parts, kept = ({name.split("/")[0] for name in names} for names in (arrays, expected))
    for part in sorted(parts - kept - {"head"}):
        fate += f", without its {part}"
    say(f"Weights: {weights.path} ({weights.origin}), {fate}")
    if line := announcement(weights.spec, spec):
        say(line)
    return unflatten({name: arrays[name] for name in expected})


def check_fit(weights: Weights, spec: ModelSpec, head: Head) -> bool:
    """Whether the model of `spec` keeps the head of `weights`.

    Raises:
        UserError: sizes differ in more than resolution, or the head to keep is for other
          classes.
    """
    check_sizes(str(weights.path), weights.spec, spec)
    if head not in get_args(Head):
        raise UserError(f"head={head!r} is none of {', '.join(get_args(Head))}.")
    there, wanted = weights.spec.num_classes, spec.num_classes
    if head == "keep" and there != wanted:
        raise UserError(
            f"{weights.path}: its head is for {there:,} classes, the model's for {wanted:,}; "
            "head=reset starts with a zero head."
        )
    other_classes = class_conflict(weights.spec.class_names, spec.class_names)
    if head == "keep" and other_classes:
        raise UserError(f"{weights.path}: its head is for other classes: {other_classes}.")
    return head != "reset" and there == wanted > 0 and not other_classes


def check_sizes(source: str, start: ModelSpec, wanted: ModelSpec) -> None:
    """Checks that the weights of `start` can be adapted to `wanted`.

    Raises:
        UserError: names `source` and the fields to set; see also `ModelSpec.at_image_size`.
    """
    if type(start) is not type(wanted):
        raise UserError(
            f"{source}: does not fit the model; it is {start.TITLE}, the model {wanted.TITLE}."
        )
    right = start.at_image_size(wanted.image_size).sizes
    if start.fits(wanted):
        return
    different = {name: size for name, size in right.items() if wanted.sizes[name] != size}
    fields = ", ".join(f"{name}={size}" for name, size in different.items())
    raise UserError(f"{source}: does not fit the model; it needs a model with {fields}.")
