"""What must be known to use a gMLP, tMLP or aMLP: its sizes and its form."""

from collections.abc import Callable
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pydantic

from mlp_core.config import PositiveFloat, PositiveInt, frozen_settings
from mlp_core.errors import UserError
from mlp_core.nn.gmlp import TENSOR_PARALLEL
from mlp_vision.models.gmlp import Gmlp
from mlp_vision.models.gmlp_resolution import resample_spatial_matrix, resample_toeplitz_vector
from mlp_vision.models.model_spec import Shapes
from mlp_vision.models.patch_model_spec import TIMM_NUMERICS, MlpModelSpec

Gating = Literal["split", "multiplicative", "additive", "linear"]
SpatialMatrix = Literal["full", "toeplitz"]
Pooling = Literal["mean", "class_token"]

# Pay Attention to MLPs, table 1; aMLP's head is that of the paper's text models.
GMLP_SIZES = {
    name: dict(patch_size=16, hidden_dim=hidden_dim, num_blocks=30, ffn_dim=6 * hidden_dim)
    for name, hidden_dim in {"ti16": 128, "s16": 256, "b16": 512}.items()
}
GMLP_FORM = {"spatial_matrix": "full", "tiny_attention_dim": 0}
TMLP_FORM = {"spatial_matrix": "toeplitz", "tiny_attention_dim": 0}
AMLP_FORM = {"tiny_attention_dim": 64}  # With either matrix.
FORMS = {"gmlp": GMLP_FORM, "tmlp": TMLP_FORM, "amlp": AMLP_FORM}


@frozen_settings
class GmlpSpec(MlpModelSpec):
    """A gMLP without its parameters; tMLP with a Toeplitz matrix, aMLP with tiny attention."""

    TITLE: ClassVar = "gMLP"
    MODULE: ClassVar = Gmlp
    MODELS: ClassVar = FORMS | {
        f"{family}_{name}": sizes | form
        for family, form in FORMS.items()
        for name, sizes in GMLP_SIZES.items()
    }
    TENSOR_PARALLEL: ClassVar = TENSOR_PARALLEL
    BLOCK: ClassVar = "GmlpBlock"
    TOKEN_MIXING: ClassVar = ("gating/spatial/kernel", "gating/spatial/bias")
    SIZES: ClassVar = (
        *("patch_size", "hidden_dim", "num_blocks", "ffn_dim"),
        *("gating", "spatial_matrix", "tiny_attention_dim", "pooling"),
    )
    NUMERICS: ClassVar = (*MlpModelSpec.NUMERICS, "gate_layer_norm_epsilon")
    # Its gate's LayerNorm has the epsilon of PyTorch, the others that of timm.
    TIMM_NUMERICS: ClassVar = TIMM_NUMERICS | {"gate_layer_norm_epsilon": 1e-5}

    architecture: Literal["gmlp"] = "gmlp"
    ffn_dim: PositiveInt
    gating: Gating = "split"
    spatial_matrix: SpatialMatrix = "full"
    tiny_attention_dim: pydantic.NonNegativeInt = 0
    pooling: Pooling = "mean"
    gate_layer_norm_epsilon: PositiveFloat = 1e-6

    @classmethod
    def sizes_in(cls, shapes: Shapes) -> dict[str, Any]:
        """See `ModelSpec.sizes_in`; which of the gatings that do not split cannot be told."""
        _, ffn_dim = shapes["GmlpBlock_0/project_in/kernel"]
        gate_dim, _ = shapes["GmlpBlock_0/project_out/kernel"]
        (tokens,) = shapes["GmlpBlock_0/gating/spatial/bias"]
        matrix = shapes["GmlpBlock_0/gating/spatial/kernel"]
        _, qkv_dim = shapes.get("GmlpBlock_0/tiny_attention/qkv/kernel", (0, 0))
        has_class_token = "class_token" in shapes
        sizes = cls.common_sizes_in(shapes, num_patches=tokens - has_class_token) | dict(
            ffn_dim=ffn_dim,
            spatial_matrix="toeplitz" if len(matrix) == 1 else "full",
            tiny_attention_dim=qkv_dim // 3,
            pooling="class_token" if has_class_token else "mean",
        )
        return sizes if gate_dim == ffn_dim else sizes | {"gating": "split"}

    @property
    def num_tokens(self) -> int:
        """Tokens that the blocks see, the class token among them."""
        return self.grid**2 + (self.pooling == "class_token")

    def _timm_arguments(self) -> str:
        defaults = self.default_sizes()
        other = [
            f"{name}={self.sizes[name]}" for name in defaults if self.sizes[name] != defaults[name]
        ]
        if other:
            raise UserError(f"timm has no gMLP with {', '.join(other)}; an npz file holds any.")
        ratio = self._timm_ratio(self.ffn_dim)
        return f"mlp_ratio={ratio}, block_layer=SpatialGatingBlock, mlp_layer=GatedMlp"

    def at_image_size(self, image_size: int) -> Self:
        """The same model for images of another size.

        Raises:
            UserError: the patch size does not divide `image_size`, or the model has both a Toeplitz
              matrix and a class token.
        """
        form = self.spatial_matrix, self.pooling
        if form == ("toeplitz", "class_token") and image_size != self.image_size:
            raise UserError(
                "a gMLP with a Toeplitz matrix and a class token cannot change its resolution: "
                "the distance to the class token is that to a patch, too."
            )
        return super().at_image_size(image_size)

    def resolution_change(self, wanted: Self) -> str:
        """See `ModelSpec.resolution_change`."""
        what = {"full": "spatial matrices", "toeplitz": "Toeplitz vectors"}[self.spatial_matrix]
        return (
            f": {what} resampled from {self.grid} x {self.grid} tokens to {wanted.grid} x "
            f"{wanted.grid}; an extension of ours, not in the paper"
        )

    def token_mixing_change(self, wanted: Self) -> Callable[..., tuple[np.ndarray, ...]]:
        """See `MlpModelSpec.token_mixing_change`."""
        changes = {"full": resample_spatial_matrix, "toeplitz": resample_toeplitz_vector}
        change = changes[self.spatial_matrix]
        return lambda kernel, bias: change(kernel, bias, self.grid, wanted.grid)
