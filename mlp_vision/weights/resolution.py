"""Parameters for images of another size; each architecture's spec says what its blocks need."""

from collections.abc import Mapping

import numpy as np

from mlp_vision.models.model_spec import ModelSpec


def announcement(start: ModelSpec, wanted: ModelSpec) -> str:
    """What `change_resolution` does, in a line; empty where there is nothing to do."""
    if start.image_size == wanted.image_size:
        return ""
    sizes = f"Resolution: {start.image_size} to {wanted.image_size} pixels"
    return f"{sizes}{start.resolution_change(wanted)}."


def change_resolution(
    arrays: Mapping[str, np.ndarray], start: ModelSpec, wanted: ModelSpec
) -> dict[str, np.ndarray]:
    """Parameters of `start` by name as those of `wanted`, which must fit."""
    if start.image_size == wanted.image_size:
        return dict(arrays)
    return start.resized(arrays, wanted)
