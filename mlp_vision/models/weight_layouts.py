"""Parameter names and array layouts of foreign weight files.

The names in this repository are, for a Mixer, those of the files that Google published. The timm
layout follows timm's mlp_mixer.py; the legacy layout follows the loader in big_vision's first Mixer
release, which also reads older files.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping

import numpy as np

Arrays = Mapping[str, np.ndarray]

BLOCK_PARTS = {  # By block name; maps names here to timm's.
    "MixerBlock": {
        "LayerNorm_0": "norm1",
        "LayerNorm_1": "norm2",
        "token_mixing/Dense_0": "mlp_tokens.fc1",
        "token_mixing/Dense_1": "mlp_tokens.fc2",
        "channel_mixing/Dense_0": "mlp_channels.fc1",
        "channel_mixing/Dense_1": "mlp_channels.fc2",
    },
    "GmlpBlock": {
        "norm": "norm",
        "project_in": "mlp_channels.fc1",
        "gating/norm": "mlp_channels.gate.norm",
        "gating/spatial": "mlp_channels.gate.proj",
        "project_out": "mlp_channels.fc2",
    },
}
OUTER_PARTS = {"stem": "stem.proj", "pre_head_layer_norm": "norm", "head": "head"}


@dataclasses.dataclass(frozen=True)
class Layout:
    """A naming and axis layout of parameters."""

    name: str
    marker: str  # A parameter name that identifies the layout.
    to_ours: Callable[[str], str]  # Returns unknown names unchanged.
    to_our_axes: Callable[[str, np.ndarray], np.ndarray]  # By the new name.


def layout_of(names: Mapping[str, object], layouts: Iterable[Layout]) -> Layout | None:
    """Returns the first of `layouts` that matches the parameter names of a file, or None."""
    return next((layout for layout in layouts if layout.marker in names), None)


def rearrange(layout: Layout, arrays: Arrays) -> dict[str, np.ndarray]:
    """Converts the arrays of a file to this repository's names and axes; keeps unknown names."""
    renamed = {layout.to_ours(name): array for name, array in arrays.items()}
    return {name: layout.to_our_axes(name, array) for name, array in renamed.items()}


def to_timm(block: str, arrays: Arrays) -> dict[str, np.ndarray]:
    """Converts arrays of a model with such blocks to timm's names and PyTorch's axes."""
    parts = BLOCK_PARTS[block]
    return {_timm_name(name, parts): _timm_axes(name, array) for name, array in arrays.items()}


def _timm_name(name: str, block_parts: Mapping[str, str]) -> str:
    part, leaf = name.rsplit("/", 1)
    leaf = "bias" if leaf == "bias" else "weight"
    if match := re.fullmatch(r"\w+Block_(\d+)/(.+)", part):
        return f"blocks.{match[1]}.{block_parts[match[2]]}.{leaf}"
    return f"{OUTER_PARTS[part]}.{leaf}"


def _timm_axes(name: str, array: np.ndarray) -> np.ndarray:
    if name.endswith("gating/spatial/kernel"):  # [output, input], as in PyTorch.
        return array
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T  # HWIO to OIHW.


def _from_timm_axes(name: str, array: np.ndarray) -> np.ndarray:
    if name.endswith("gating/spatial/kernel"):
        return array
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T  # OIHW to HWIO.


def _timm_layout(block: str, marker: str) -> Layout:
    block_parts = {theirs: ours for ours, theirs in BLOCK_PARTS[block].items()}
    outer_parts = {theirs: ours for ours, theirs in OUTER_PARTS.items()}

    def to_ours(name: str) -> str:
        part, _, leaf = name.rpartition(".")
        match = re.fullmatch(r"blocks\.(\d+)\.(.+)", part)
        ours = block_parts.get(match[2]) if match else outer_parts.get(part)
        if ours is None:
            return name
        weight = "scale" if "norm" in ours.lower() else "kernel"
        prefix = f"{block}_{match[1]}/" if match else ""
        return f"{prefix}{ours}/{weight if leaf == 'weight' else leaf}"

    return Layout("timm", marker, to_ours, _from_timm_axes)


def _from_legacy_name(name: str) -> str:
    name = re.sub(r"^embedding/", "stem/", name)
    name = re.sub(r"^Mixer/encoder_norm/", "pre_head_layer_norm/", name)
    name = re.sub(r"^Mixer/encoderblock_(\d+)/", r"MixerBlock_\1/", name)
    if match := re.fullmatch(r"(.+)/(token|channel)_mixing_phase_0/(kernel|bias)([12])", name):
        block, mixing, leaf, number = match.groups()
        return f"{block}/{mixing}_mixing/Dense_{int(number) - 1}/{leaf}"
    return name


def _from_legacy_axes(name: str, array: np.ndarray) -> np.ndarray:
    """Drops the length-one axes of the MLPs' arrays."""
    return array.squeeze() if "_mixing/" in name else array


MLP_LAYOUTS = (
    Layout("published", "stem/kernel", lambda name: name, lambda name, array: array),
    _timm_layout("GmlpBlock", "blocks.0.mlp_channels.gate.proj.weight"),
    _timm_layout("MixerBlock", "stem.proj.weight"),
    Layout("legacy", "embedding/kernel", _from_legacy_name, _from_legacy_axes),
)
