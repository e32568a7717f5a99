"""Names of a Mixer's parameters in other people's weight files, and how arrays lie there.

Ours are those of the files that Google published. Facts on the other two: timm's mlp_mixer.py;
the loader of big_vision's first Mixer release, for files that were written before it.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping

import numpy as np

Arrays = Mapping[str, np.ndarray]

BLOCK_PARTS = {  # Ours: timm's.
    "LayerNorm_0": "norm1",
    "LayerNorm_1": "norm2",
    "token_mixing/Dense_0": "mlp_tokens.fc1",
    "token_mixing/Dense_1": "mlp_tokens.fc2",
    "channel_mixing/Dense_0": "mlp_channels.fc1",
    "channel_mixing/Dense_1": "mlp_channels.fc2",
}
OUTER_PARTS = {"stem": "stem.proj", "pre_head_layer_norm": "norm", "head": "head"}


@dataclasses.dataclass(frozen=True)
class Layout:
    """A way of naming and laying out the parameters."""

    name: str
    marker: str  # A parameter whose name tells the layout.
    to_ours: Callable[[str], str]  # Leaves a name alone that it does not know.
    to_our_axes: Callable[[str, np.ndarray], np.ndarray]  # By our name.


def layout_of(names: Mapping[str, object]) -> Layout | None:
    """The layout that the parameters of a file are in, or None."""
    return next((layout for layout in LAYOUTS if layout.marker in names), None)


def rearrange(layout: Layout, arrays: Arrays) -> dict[str, np.ndarray]:
    """Arrays of a file under our names and in our axes; foreign names stay as they are."""
    renamed = {layout.to_ours(name): array for name, array in arrays.items()}
    return {name: layout.to_our_axes(name, array) for name, array in renamed.items()}


def to_timm(arrays: Arrays) -> dict[str, np.ndarray]:
    """Our arrays under timm's names and in PyTorch's axes."""
    return {_timm_name(name): _timm_axes(array) for name, array in arrays.items()}


def _timm_name(name: str) -> str:
    part, leaf = name.rsplit("/", 1)
    leaf = "bias" if leaf == "bias" else "weight"
    if match := re.fullmatch(r"MixerBlock_(\d+)/(.+)", part):
        return f"blocks.{match[1]}.{BLOCK_PARTS[match[2]]}.{leaf}"
    return f"{OUTER_PARTS[part]}.{leaf}"


def _timm_axes(array: np.ndarray) -> np.ndarray:
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T  # HWIO to OIHW.


def _from_timm_name(name: str) -> str:
    part, _, leaf = name.rpartition(".")
    block = re.fullmatch(r"blocks\.(\d+)\.(.+)", part)
    ours = {theirs: ours for ours, theirs in (BLOCK_PARTS if block else OUTER_PARTS).items()}
    part = ours.get(block[2] if block else part)
    if part is None:
        return name
    weight = "scale" if "norm" in part.lower() else "kernel"
    prefix = f"MixerBlock_{block[1]}/" if block else ""
    return f"{prefix}{part}/{weight if leaf == 'weight' else leaf}"


def _from_timm_axes(name: str, array: np.ndarray) -> np.ndarray:
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T  # OIHW to HWIO.


def _from_legacy_name(name: str) -> str:
    name = re.sub(r"^embedding/", "stem/", name)
    name = re.sub(r"^Mixer/encoder_norm/", "pre_head_layer_norm/", name)
    name = re.sub(r"^Mixer/encoderblock_(\d+)/", r"MixerBlock_\1/", name)
    if match := re.fullmatch(r"(.+)/(token|channel)_mixing_phase_0/(kernel|bias)([12])", name):
        block, mixing, leaf, number = match.groups()
        return f"{block}/{mixing}_mixing/Dense_{int(number) - 1}/{leaf}"
    return name


def _from_legacy_axes(name: str, array: np.ndarray) -> np.ndarray:
    """Drops the axes of length one that the MLPs' arrays had."""
    return array.squeeze() if "_mixing/" in name else array


LAYOUTS = (
    Layout("published", "stem/kernel", lambda name: name, lambda name, array: array),
    Layout("timm", "stem.proj.weight", _from_timm_name, _from_timm_axes),
    Layout("legacy", "embedding/kernel", _from_legacy_name, _from_legacy_axes),
)
