"""Base specs of patch models: a square grid of tokens, whose number the blocks keep."""

import abc
import math
from collections.abc import Callable, Mapping
from typing import ClassVar, Literal, Self

import numpy as np

from mlp_core.config import NumBlocks, PositiveFloat, PositiveInt, frozen_settings
from mlp_core.errors import UserError
from mlp_vision.models.layers import check_patch_size
from mlp_vision.models.model_spec import (
    GOOGLE_PREPROCESSING,
    TIMM_PREPROCESSING,
    Layer,
    ModelSpec,
    Shapes,
)
from mlp_vision.models.weight_layouts import Arrays

# Google's are from vision_transformer's models_mixer.py and models_vit.py, timm's from its
# mlp_mixer.py.
GOOGLE_NUMERICS = GOOGLE_PREPROCESSING | dict(gelu="tanh", layer_norm_epsilon=1e-6)
TIMM_NUMERICS = TIMM_PREPROCESSING | dict(gelu="erf", layer_norm_epsilon=1e-6)


@frozen_settings
class PatchModelSpec(ModelSpec):
    """Spec of a patch model."""

    BLOCK: ClassVar[str]  # Blocks are named BLOCK_0, BLOCK_1 ...
    NUMERICS: ClassVar = ("gelu", "layer_norm_epsilon")
    GOOGLE_NUMERICS: ClassVar = GOOGLE_NUMERICS
    TIMM_NUMERICS: ClassVar = TIMM_NUMERICS

    patch_size: PositiveInt
    hidden_dim: PositiveInt
    num_blocks: NumBlocks
    gelu: Literal["tanh", "erf"]
    layer_norm_epsilon: PositiveFloat

    @classmethod
    def common_sizes_in(cls, shapes: Shapes, num_patches: int) -> dict[str, int]:
        """Infers the sizes that all patch models have, and the image size.

        Raises:
            KeyError, ValueError: see `ModelSpec.sizes_in`.
        """
        patch_size, _, _, hidden_dim = shapes["stem/kernel"]
        names = {name.split("/")[0] for name in shapes}
        return dict(
            patch_size=patch_size,
            hidden_dim=hidden_dim,
            num_blocks=sum(name.startswith(cls.BLOCK) for name in names),
            image_size=patch_size * math.isqrt(num_patches),
        )

    @property
    def grid(self) -> int:
        """Patches per side."""
        return self.image_size // self.patch_size

    @property
    def num_tokens(self) -> int:
        """Number of tokens in the blocks."""
        return self.grid**2

    @property
    def layers(self) -> Mapping[str, Layer]:
        """See `ModelSpec.layers`: the output tokens of each block."""
        shape = (self.num_tokens, self.hidden_dim)
        return {f"block_{i}": Layer(f"{self.BLOCK}_{i}", shape) for i in range(self.num_blocks)}

    @property
    def feature_dim(self) -> int:
        """See `ModelSpec.feature_dim`."""
        return self.hidden_dim

    @property
    def own_patch(self) -> int:
        """See `ModelSpec.own_patch`: the patch size of the tokens."""
        return self.patch_size

    def at_image_size(self, image_size: int) -> Self:
        """Returns the spec of the same model for another image size.

        Raises:
            UserError: the patch size does not divide `image_size`, or this form of the model cannot
              change its resolution.
        """
        resized = super().at_image_size(image_size)
        check_patch_size(self.patch_size, (image_size, image_size))
        return resized


class MlpModelSpec(PatchModelSpec):
    """Spec of a patch model with learned token-mixing weights, whose shapes fix the resolution."""

    TOKEN_MIXING: ClassVar[tuple[str, ...]]  # Arrays of a block that depend on the image size.

    @abc.abstractmethod
    def token_mixing_change(self, wanted: Self) -> Callable[..., tuple[np.ndarray, ...]]:
        """Returns the function that resizes a block's TOKEN_MIXING arrays to those of `wanted`.

        `wanted` must be a spec that `fits`.
        """

    def resized(self, arrays: Arrays, wanted: Self) -> dict[str, np.ndarray]:
        """See `ModelSpec.resized`."""
        change, changed = self.token_mixing_change(wanted), dict(arrays)
        for block in range(self.num_blocks):
            names = [f"{self.BLOCK}_{block}/{part}" for part in self.TOKEN_MIXING]
            changed |= dict(zip(names, change(*(arrays[name] for name in names)), strict=True))
        return changed

    def in_timm(self) -> str:
        """See `ModelSpec.in_timm`."""
        if self.permutation != "none":
            raise UserError(f"timm has no model that sees its {self.permutation} permuted.")
        activation = ", act_layer=GELUTanh" if self.gelu == "tanh" else ""
        return (
            f"MlpMixer(num_classes={self.num_classes}, img_size={self.image_size}, "
            f"patch_size={self.patch_size}, num_blocks={self.num_blocks}, "
            f"embed_dim={self.hidden_dim}, {self._timm_arguments()}{activation})"
        )

    @abc.abstractmethod
    def _timm_arguments(self) -> str:
        """Returns the arguments of `in_timm` that are specific to the architecture."""

    def _timm_ratio(self, width: int) -> float:
        """Returns the ratio that timm multiplies by the channels and truncates to get `width`."""
        ratio = width / self.hidden_dim
        truncated = int(self.hidden_dim * ratio)
        return ratio if truncated == width else math.nextafter(ratio, math.inf)
