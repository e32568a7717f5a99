"""What must be known to use an MLP-Mixer: its sizes, and how they follow the image size."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np

from mlp_core.config import PositiveInt, frozen_settings
from mlp_vision.models.mixer import TENSOR_PARALLEL, Mixer
from mlp_vision.models.mixer_resolution import resample_token_mlp, tile_token_mlp
from mlp_vision.models.model_spec import ModelSpec, Shapes
from mlp_vision.models.patch_model_spec import MlpModelSpec

# MLP-Mixer, table 1; S/8 is the size of one published weight file.
MIXER_SIZES = {
    name: dict(
        zip(
            ("patch_size", "hidden_dim", "num_blocks", "tokens_mlp_dim", "channels_mlp_dim"),
            sizes,
            strict=True,
        )
    )
    for name, sizes in {
        "s32": (32, 512, 8, 256, 2048),
        "s16": (16, 512, 8, 256, 2048),
        "s8": (8, 512, 8, 256, 2048),
        "b32": (32, 768, 12, 384, 3072),
        "b16": (16, 768, 12, 384, 3072),
        "l32": (32, 1024, 24, 512, 4096),
        "l16": (16, 1024, 24, 512, 4096),
        "h14": (14, 1280, 32, 640, 5120),
    }.items()
}


@frozen_settings
class MixerSpec(MlpModelSpec):
    """An MLP-Mixer without its parameters."""

    TITLE: ClassVar = "MLP-Mixer"
    MODULE: ClassVar = Mixer
    MODELS: ClassVar = {
        "mixer": {},  # Leaves all sizes open.
        **{f"mixer_{name}": sizes for name, sizes in MIXER_SIZES.items()},
    }
    TENSOR_PARALLEL: ClassVar = TENSOR_PARALLEL
    BLOCK: ClassVar = "MixerBlock"
    TOKEN_MIXING: ClassVar = tuple(
        f"token_mixing/{layer}/{leaf}"
        for layer in ("Dense_0", "Dense_1")
        for leaf in ("kernel", "bias")
    )
    SIZES: ClassVar = (
        *("patch_size", "hidden_dim", "num_blocks"),
        *("tokens_mlp_dim", "channels_mlp_dim"),
    )

    architecture: Literal["mixer"] = "mixer"
    tokens_mlp_dim: PositiveInt
    channels_mlp_dim: PositiveInt

    @classmethod
    def sizes_in(cls, shapes: Shapes) -> dict[str, Any]:
        """See `ModelSpec.sizes_in`."""
        tokens, tokens_mlp_dim = shapes["MixerBlock_0/token_mixing/Dense_0/kernel"]
        _, channels_mlp_dim = shapes["MixerBlock_0/channel_mixing/Dense_0/kernel"]
        return cls.common_sizes_in(shapes, num_patches=tokens) | dict(
            tokens_mlp_dim=tokens_mlp_dim, channels_mlp_dim=channels_mlp_dim
        )

    def at_image_size(self, image_size: int) -> Self:
        """The same model for images of another size.

        A side longer by a whole factor K widens the token MLP by K squared (MLP-Mixer, section 3);
        for any other size its width stays.

        Raises:
            UserError: the patch size does not divide `image_size`.
        """
        factor, rest = divmod(image_size, self.image_size)
        width = self.tokens_mlp_dim * (factor**2 if rest == 0 and factor else 1)
        return dataclasses.replace(super().at_image_size(image_size), tokens_mlp_dim=width)

    def sizes_at(self, image_size: int, named: Mapping[str, Any]) -> dict[str, Any]:
        """As the base class; the token MLPs are as wide as the image size asks for.

        A width that is named may be that of these weights, or of the same at a lower resolution.
        """
        sizes = super().sizes_at(image_size, named)
        if sizes["patch_size"] == self.patch_size:
            factor = math.isqrt(self.tokens_mlp_dim // sizes["tokens_mlp_dim"])
            if self.tokens_mlp_dim == factor**2 * sizes["tokens_mlp_dim"]:
                sizes["tokens_mlp_dim"] = self.at_image_size(image_size).tokens_mlp_dim
        return sizes

    def fits(self, wanted: ModelSpec) -> bool:
        """As the base class: the token MLPs grow with the number of tokens, or keep their width."""
        candidates = (self, self.at_image_size(wanted.image_size))
        return any(super(MixerSpec, spec).fits(wanted) for spec in candidates)

    def _timm_arguments(self) -> str:
        ratios = self._timm_ratio(self.tokens_mlp_dim), self._timm_ratio(self.channels_mlp_dim)
        return f"mlp_ratio={ratios}"

    def resolution_change(self, wanted: Self) -> str:
        """See `ModelSpec.resolution_change`."""
        if self.tokens_mlp_dim == wanted.tokens_mlp_dim:
            return (
                f": token-mixing weights resampled as images of {self.grid} x {self.grid} "
                f"tokens to {wanted.grid} x {wanted.grid}; an extension of ours, not in the paper"
            )
        factor = wanted.grid // self.grid
        return (
            f" by the paper's construction: token MLPs act on each of {factor} x {factor} tiles "
            f"alone at first, {self.tokens_mlp_dim:,} to {wanted.tokens_mlp_dim:,} hidden units"
        )

    def token_mixing_change(self, wanted: Self) -> Callable[..., tuple[np.ndarray, ...]]:
        """See `MlpModelSpec.token_mixing_change`.

        Where the token MLPs grow, the construction of MLP-Mixer, section 3 and appendix C; else
        they are resampled.
        """
        keeps_width = self.tokens_mlp_dim == wanted.tokens_mlp_dim
        change = resample_token_mlp if keeps_width else tile_token_mlp
        return lambda *mlp: change(*mlp, self.grid, wanted.grid)
