"""Vision Transformer (arXiv:2010.11929, section 3.1), the baseline of both papers.

Shapes: B batch, H and W pixels, S tokens after the class token, C channels of a token
(`hidden_dim`), K classes.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mlp_core.config import PositiveInt, frozen_settings
from mlp_core.errors import UserError
from mlp_core.nn.dense import materialized
from mlp_core.nn.mlp import MlpBlock, StochasticDepth
from mlp_core.nn.stack import Remat
from mlp_vision.models.layers import (
    interpolation,
    linear_head,
    patch_tokens,
    through_blocks,
    with_class_token,
)
from mlp_vision.models.model_spec import ModelSpec, Shapes
from mlp_vision.models.patch_model_spec import PatchModelSpec
from mlp_vision.models.weight_layouts import Layout

# Sizes from table 1 of the paper; Ti and S are from DeiT (arXiv:2012.12877), as published by Google
# in How to train your ViT (arXiv:2106.10270).
VIT_SIZES = {
    name: dict(patch_size=patch, hidden_dim=dim, num_blocks=depth, num_heads=heads, mlp_dim=4 * dim)
    for name, (patch, dim, depth, heads) in {
        "ti16": (16, 192, 12, 3),
        "s32": (32, 384, 12, 6),
        "s16": (16, 384, 12, 6),
        "b32": (32, 768, 12, 12),
        "b16": (16, 768, 12, 12),
        "l32": (32, 1024, 24, 16),
        "l16": (16, 1024, 24, 16),
        "h14": (14, 1280, 32, 16),
    }.items()
}


class VitBlock(nn.Module):
    """Self-attention, then an MLP, each pre-LayerNorm with a skip connection."""

    num_heads: int
    mlp_dim: int
    gelu: str = "tanh"
    layer_norm_epsilon: float = 1e-6
    dropout_rate: float = 0.0
    drop_path_rescaled: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        *,
        drop_path_rate: jax.Array | float | None = None,
        train: bool = False,
    ) -> jax.Array:
        """Maps [B, S, C] to [B, S, C]; see `MixerBlock` for `drop_path_rate`."""

        def norm(name):
            return nn.LayerNorm(epsilon=self.layer_norm_epsilon, dtype=self.dtype, name=name)

        def branch(y):
            return StochasticDepth(self.drop_path_rescaled)(y, drop_path_rate, train=train)

        attention = nn.MultiHeadAttention(self.num_heads, dtype=self.dtype, name="attention")
        y = attention(norm("LayerNorm_0")(x), deterministic=True)
        x = materialized(x + branch(nn.Dropout(self.dropout_rate, deterministic=not train)(y)))
        mlp = MlpBlock(self.mlp_dim, self.gelu, self.dropout_rate, self.dtype, name="mlp")
        return x + branch(mlp(norm("LayerNorm_1")(x), train=train))


class Vit(nn.Module):
    """Patches and class token, positions, blocks, LayerNorm, linear head on the class token.

    With `num_classes` 0 the module has no head and returns the features [B, C].
    """

    num_classes: int
    patch_size: int
    hidden_dim: int
    num_blocks: int
    num_heads: int
    mlp_dim: int
    pre_logits: bool = False  # A tanh layer before the head, as in pre-training (3.1).
    gelu: str = "tanh"
    layer_norm_epsilon: float = 1e-6
    dropout_rate: float = 0.0  # After positions, attention and MLP layers.
    stochastic_depth: float = 0.0  # Rate of the last block, linear from 0 in the first.
    stochastic_depth_rescaled: bool = False
    scan_layers: bool = False  # See `block_stack`, also for `remat`.
    remat: Remat = "none"
    dtype: Any = jnp.float32  # Of computation; parameters and head are float32.

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps images [B, H, W, 3], in the value range of the weights, to logits [B, K], float32.

        Training with a rate above zero needs the RNG stream `dropout`.

        Raises:
            UserError: the patch size does not divide height and width, or `num_heads` does
              not divide `hidden_dim`.
        """
        if self.hidden_dim % self.num_heads:
            raise UserError(
                f"hidden_dim={self.hidden_dim} cannot be split into {self.num_heads} heads of the "
                "same size."
            )
        x = patch_tokens(images, self.patch_size, self.hidden_dim, self.dtype)  # [B, S, C]
        x = with_class_token(self, x, nn.initializers.zeros)  # [B, 1 + S, C]
        positions = self.param(
            "position_embedding", nn.initializers.normal(0.02), (1, *x.shape[1:])
        )
        x = x + positions.astype(x.dtype)
        x = nn.Dropout(self.dropout_rate, deterministic=not train)(x)
        fields = dict(num_heads=self.num_heads, mlp_dim=self.mlp_dim)
        x = through_blocks(self, VitBlock, fields, x, train)
        x = x[:, 0].astype(jnp.float32)  # [B, C]
        if self.pre_logits:
            x = jnp.tanh(nn.Dense(self.hidden_dim, name="pre_logits")(x))
        return linear_head(x, self.num_classes)  # [B, K]


# Maps names of google-research/vision_transformer to names in this repository.
_PUBLISHED_PARTS = {
    r"embedding/(\w+)": r"stem/\1",
    r"cls": r"class_token",
    r"Transformer/posembed_input/pos_embedding": r"position_embedding",
    r"Transformer/encoder_norm/(\w+)": r"pre_head_layer_norm/\1",
    r"Transformer/encoderblock_(\d+)/LayerNorm_0/(\w+)": r"VitBlock_\1/LayerNorm_0/\2",
    r"Transformer/encoderblock_(\d+)/MultiHeadDotProductAttention_1/(\w+/\w+)": (
        r"VitBlock_\1/attention/\2"
    ),
    r"Transformer/encoderblock_(\d+)/LayerNorm_2/(\w+)": r"VitBlock_\1/LayerNorm_1/\2",
    r"Transformer/encoderblock_(\d+)/MlpBlock_3/(\w+/\w+)": r"VitBlock_\1/mlp/\2",
}


def _from_published_name(name: str) -> str:
    for theirs, ours in _PUBLISHED_PARTS.items():
        if match := re.fullmatch(theirs, name):
            return match.expand(ours)
    return name


@frozen_settings
class VitSpec(PatchModelSpec):
    """Spec of a Vision Transformer."""

    TITLE: ClassVar = "ViT"
    MODULE: ClassVar = Vit
    MODELS: ClassVar = {"vit": {}, **{f"vit_{name}": sizes for name, sizes in VIT_SIZES.items()}}
    BLOCK: ClassVar = "VitBlock"
    SIZES: ClassVar = (
        *("patch_size", "hidden_dim", "num_blocks"),
        *("num_heads", "mlp_dim", "pre_logits"),
    )
    LAYOUTS: ClassVar = (
        Layout(
            "published ViT",
            "Transformer/posembed_input/pos_embedding",
            _from_published_name,
            lambda name, array: array,
        ),
    )
    TENSOR_PARALLEL: ClassVar = (  # Splits heads of attention, hidden units of MLPs.
        ".*/attention/(query|key|value)/kernel=-,model,-",
        ".*/attention/(query|key|value)/bias=model,-",
        ".*/attention/out/kernel=model,-,-",
        ".*/mlp/Dense_0/kernel=-,model",
        ".*/mlp/Dense_0/bias=model",
        ".*/mlp/Dense_1/kernel=model,-",
    )

    architecture: Literal["vit"] = "vit"
    num_heads: PositiveInt
    mlp_dim: PositiveInt
    pre_logits: bool = False

    @classmethod
    def sizes_in(cls, shapes: Shapes) -> dict[str, Any]:
        """See `ModelSpec.sizes_in`."""
        _, num_heads, _ = shapes["VitBlock_0/attention/query/kernel"]
        _, mlp_dim = shapes["VitBlock_0/mlp/Dense_0/kernel"]
        _, tokens, _ = shapes["position_embedding"]
        return cls.common_sizes_in(shapes, num_patches=tokens - 1) | dict(
            num_heads=num_heads, mlp_dim=mlp_dim, pre_logits="pre_logits/kernel" in shapes
        )

    def fits(self, wanted: ModelSpec) -> bool:
        """As in the base class; a new head may drop the `pre_logits` layer (section 3.1)."""
        starts = [self]
        if self.num_classes != wanted.num_classes:
            starts.append(dataclasses.replace(self, pre_logits=False))
        return any(super(VitSpec, start).fits(wanted) for start in starts)

    @property
    def num_tokens(self) -> int:
        """Number of tokens in the blocks, including the class token."""
        return self.grid**2 + 1

    def resized(self, arrays: Mapping[str, np.ndarray], wanted: Self) -> dict[str, np.ndarray]:
        """See `ModelSpec.resized`; positions are interpolated as in section 3.2 and its code."""
        positions = arrays["position_embedding"]
        patches = interpolation(self.grid, wanted.grid) @ positions[0, 1:]
        changed = np.concatenate([positions[0, :1], patches])[None].astype(positions.dtype)
        return {**arrays, "position_embedding": changed}

    def resolution_change(self, wanted: Self) -> str:
        """See `ModelSpec.resolution_change`."""
        return (
            f": positions interpolated from {self.grid} x {self.grid} to {wanted.grid} x "
            f"{wanted.grid} tokens"
        )
