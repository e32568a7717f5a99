"""gMLP for images (Pay Attention to MLPs, arXiv:2105.08050, section 3), with tMLP and aMLP.

Shapes: B batch, H and W pixels, S tokens in row-major order, after the class token if there is
one, C channels of a token (`hidden_dim`), K classes.

`GmlpSpec` describes a model without its parameters. For another resolution, spatial projections are
resampled, which is not in the paper: g tokens per side before, S = g * g, plus one with a class
token.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Literal, Self

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pydantic

from mlp_core.config import PositiveFloat, PositiveInt, frozen_settings
from mlp_core.errors import UserError
from mlp_core.nn.gmlp import TENSOR_PARALLEL, GmlpBlock
from mlp_core.nn.stack import Remat
from mlp_vision.models.layers import (
    bilinear,
    linear_head,
    patch_tokens,
    through_blocks,
    triangles,
    with_class_token,
)
from mlp_vision.models.model_spec import Shapes
from mlp_vision.models.patch_model_spec import TIMM_NUMERICS, MlpModelSpec

# Unlike in ViT, the class token cannot start at zero: LayerNorm and the gates keep zeros, so no
# image information would reach the token, and only the bias of the head would get gradients.
class_token_init = nn.initializers.normal(0.02)
Gating = Literal["split", "multiplicative", "additive", "linear"]
SpatialMatrix = Literal["full", "toeplitz"]
Pooling = Literal["mean", "class_token"]
# Pay Attention to MLPs, table 1; aMLP uses the attention head of the paper's text models.
GMLP_SIZES = {
    name: dict(patch_size=16, hidden_dim=hidden_dim, num_blocks=30, ffn_dim=6 * hidden_dim)
    for name, hidden_dim in {"ti16": 128, "s16": 256, "b16": 512}.items()
}
GMLP_FORM = {"spatial_matrix": "full", "tiny_attention_dim": 0}
TMLP_FORM = {"spatial_matrix": "toeplitz", "tiny_attention_dim": 0}
AMLP_FORM = {"tiny_attention_dim": 64}  # With either matrix form.
FORMS = {"gmlp": GMLP_FORM, "tmlp": TMLP_FORM, "amlp": AMLP_FORM}


class Gmlp(nn.Module):
    """Patches, gMLP blocks, LayerNorm, pooling, linear head.

    Pooling "mean" averages the tokens, as in timm, which publishes the only weights. Pooling
    "class_token" prepends a learned token, whose output goes through a tanh layer (`pre_logits`) as
    in ViT. The paper does not specify the pooling; its parameter counts match the latter. With
    `num_classes` 0 the module has no head and returns the pooled features [B, C].
    """

    num_classes: int
    patch_size: int
    hidden_dim: int
    num_blocks: int
    ffn_dim: int
    gating: str = "split"  # One of `spatial_gating.GATINGS`.
    spatial_matrix: str = "full"  # Or "toeplitz": tMLP.
    tiny_attention_dim: int = 0  # Above 0: aMLP.
    pooling: str = "mean"
    gelu: str = "tanh"
    layer_norm_epsilon: float = 1e-6
    gate_layer_norm_epsilon: float = 1e-6
    dropout_rate: float = 0.0
    stochastic_depth: float = 0.0  # Rate of the last block, linear from 0 in the first.
    stochastic_depth_rescaled: bool = False
    scan_layers: bool = False  # See `block_stack`, also for `remat`.
    remat: Remat = "none"
    dtype: Any = jnp.float32  # Of computation; parameters, pooling and head are float32.

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps images [B, H, W, 3], in the value range of the weights, to logits [B, K], float32.

        Training with a rate above zero needs the RNG stream `dropout`.

        Raises:
            UserError: the patch size does not divide height and width, or `ffn_dim` is odd
              with split gating.
        """
        if self.gating == "split" and self.ffn_dim % 2:
            raise UserError(f"ffn_dim={self.ffn_dim} cannot be split in halves; make it even.")
        x = patch_tokens(images, self.patch_size, self.hidden_dim, self.dtype)  # [B, S, C]
        if self.pooling == "class_token":
            x = with_class_token(self, x, class_token_init)  # [B, 1 + S, C]
        fields = dict(
            ffn_dim=self.ffn_dim,
            gating=self.gating,
            spatial_matrix=self.spatial_matrix,
            tiny_attention_dim=self.tiny_attention_dim,
            gate_layer_norm_epsilon=self.gate_layer_norm_epsilon,
        )
        x = through_blocks(self, GmlpBlock, fields, x, train)
        if self.pooling == "class_token":
            x = x[:, 0].astype(jnp.float32)  # [B, C]
            x = jnp.tanh(nn.Dense(self.hidden_dim, name="pre_logits")(x))
        else:
            x = jnp.mean(x, axis=1, dtype=jnp.float32)  # [B, C]
        return linear_head(x, self.num_classes)  # [B, K]


@frozen_settings
class GmlpSpec(MlpModelSpec):
    """Spec of a gMLP, of a tMLP (Toeplitz matrix) or of an aMLP (tiny attention)."""

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
    # The gate's LayerNorm has PyTorch's default epsilon, the others have timm's.
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
        """See `ModelSpec.sizes_in`; shapes do not distinguish the gatings that do not split."""
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
        """Number of tokens in the blocks, including the class token."""
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
        """Returns the spec of the same model for another image size.

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


def resample_spatial_matrix(
    kernel: np.ndarray, bias: np.ndarray, grid: int, new_grid: int
) -> tuple[np.ndarray, np.ndarray]:
    """Resamples a spatial matrix W [S, S] and bias [S] to another number of tokens.

    Rows and columns are resampled bilinearly as images. Input weights are scaled by the ratio of
    the token counts, so that the output for a constant input stays the same. A class token keeps
    its weights.
    """
    extra = len(bias) - grid**2  # 1 with a class token.
    weights = bilinear(grid, new_grid)
    outputs = _beside(np.eye(extra), weights)
    inputs = _beside(np.eye(extra), weights * (grid / new_grid) ** 2)
    return (
        (outputs @ kernel @ inputs.T).astype(kernel.dtype),
        (outputs @ bias).astype(bias.dtype),
    )


def resample_toeplitz_vector(
    kernel: np.ndarray, bias: np.ndarray, grid: int, new_grid: int
) -> tuple[np.ndarray, np.ndarray]:
    """Resamples a Toeplitz vector [2 S - 1] and bias [S], without class token.

    Each distance along the sequence corresponds to an offset in rows and columns, so the vector is
    an image of weights by row and column offset. This image is resampled bilinearly and scaled by
    the ratio of the token counts. Most distances correspond to two offsets (one row down, or many
    columns to the right); the new vector uses the one with fewer columns.
    """
    tokens, new_tokens = grid**2, new_grid**2
    steps, new_steps = np.arange(1 - grid, grid), np.arange(1 - new_grid, new_grid)
    by_rows_and_columns = kernel[tokens - 1 + steps[:, None] * grid + steps]
    axis = triangles(new_steps * grid / new_grid, steps, grid / new_grid)
    resampled = axis @ by_rows_and_columns @ axis.T * tokens / new_tokens

    distances = np.arange(1 - new_tokens, new_tokens)
    rows = np.rint(distances / new_grid).clip(1 - new_grid, new_grid - 1).astype(int)
    columns = distances - rows * new_grid
    new_kernel = resampled[rows + new_grid - 1, columns + new_grid - 1]
    new_bias = bilinear(grid, new_grid) @ bias
    return new_kernel.astype(kernel.dtype), new_bias.astype(bias.dtype)


def _beside(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns the block-diagonal matrix of two matrices."""
    rows, columns = len(first) + len(second), first.shape[1] + second.shape[1]
    both = np.zeros((rows, columns))
    both[: len(first), : first.shape[1]] = first
    both[len(first) :, first.shape[1] :] = second
    return both
