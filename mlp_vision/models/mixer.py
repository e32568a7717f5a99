"""MLP-Mixer (arXiv:2105.01601, section 2): token mixing and channel mixing only.

Shapes: B batch, H and W pixels, P patch size, S = (H / P) * (W / P) tokens in row-major order,
C channels of a token (`hidden_dim`), K classes. The parameter tree and the defaults
of GELU form and LayerNorm epsilon are those of Google's published weights.

`MixerSpec` describes a Mixer without its parameters. At another resolution only the token-mixing
MLPs change, since only they depend on the number of tokens: g tokens per side before, K the factor
by which a side grows, D_S hidden units of the token MLP before.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, Self

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mlp_core.config import PositiveInt, frozen_settings
from mlp_core.nn.dense import materialized
from mlp_core.nn.mlp import MlpBlock, StochasticDepth
from mlp_core.nn.stack import Remat
from mlp_vision.models.layers import bilinear, linear_head, patch_tokens, through_blocks
from mlp_vision.models.model_spec import ModelSpec, Shapes
from mlp_vision.models.patch_model_spec import MlpModelSpec

# See `mlp_core.distributed.sharding`; each MLP is split along its hidden units.
TENSOR_PARALLEL = (
    ".*_mixing/Dense_0/kernel=-,model",
    ".*_mixing/Dense_0/bias=model",
    ".*_mixing/Dense_1/kernel=model,-",
)
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


class MixerBlock(nn.Module):
    """Token-mixing MLP, then channel-mixing MLP, each pre-LayerNorm with a skip connection."""

    tokens_mlp_dim: int
    channels_mlp_dim: int
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
        """Maps [B, S, C] to [B, S, C].

        In training, an MLP is skipped for the fraction `drop_path_rate`, a scalar, of the examples.
        """

        def norm(name):
            return nn.LayerNorm(epsilon=self.layer_norm_epsilon, dtype=self.dtype, name=name)

        def mlp(hidden_dim, name, **speed):
            return MlpBlock(
                hidden_dim, self.gelu, self.dropout_rate, self.dtype, name=name, **speed
            )

        def branch(y):
            return StochasticDepth(self.drop_path_rescaled)(y, drop_path_rate, train=train)

        y = norm("LayerNorm_0")(x)
        y = y.swapaxes(1, 2)  # [B, C, S]
        y = mlp(self.tokens_mlp_dim, "token_mixing")(y, train=train)
        y = y.swapaxes(1, 2)  # [B, S, C]
        x = materialized(x + branch(y))
        y = norm("LayerNorm_1")(x)
        y = mlp(self.channels_mlp_dim, "channel_mixing", hidden_in_memory=True)(y, train=train)
        return x + branch(y)


class Mixer(nn.Module):
    """Patches, Mixer blocks, LayerNorm, mean over tokens, linear head.

    With `num_classes` 0 the module has no head and returns the pooled features [B, C].
    """

    num_classes: int
    patch_size: int
    hidden_dim: int
    num_blocks: int
    tokens_mlp_dim: int
    channels_mlp_dim: int
    gelu: str = "tanh"
    layer_norm_epsilon: float = 1e-6
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
            UserError: the patch size does not divide height and width.
        """
        x = patch_tokens(images, self.patch_size, self.hidden_dim, self.dtype)  # [B, S, C]
        fields = dict(
            tokens_mlp_dim=self.tokens_mlp_dim,
            channels_mlp_dim=self.channels_mlp_dim,
        )
        x = through_blocks(self, MixerBlock, fields, x, train)
        x = jnp.mean(x, axis=1, dtype=jnp.float32)  # [B, C]
        return linear_head(x, self.num_classes)  # [B, K]


@frozen_settings
class MixerSpec(MlpModelSpec):
    """Spec of an MLP-Mixer."""

    TITLE: ClassVar = "MLP-Mixer"
    MODULE: ClassVar = Mixer
    MODELS: ClassVar = {
        "mixer": {},  # All sizes must be given.
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
        """Returns the spec of the same model for another image size.

        A side that grows by an integer factor K widens the token MLP by K squared (MLP-Mixer,
        section 3); for any other size its width stays.

        Raises:
            UserError: the patch size does not divide `image_size`.
        """
        factor, rest = divmod(image_size, self.image_size)
        width = self.tokens_mlp_dim * (factor**2 if rest == 0 and factor else 1)
        return dataclasses.replace(super().at_image_size(image_size), tokens_mlp_dim=width)

    def sizes_at(self, image_size: int, named: Mapping[str, Any]) -> dict[str, Any]:
        """As in the base class, with the width of the token MLPs adjusted to the image size.

        The width in `named` may be that of these weights or of their lower-resolution form.
        """
        sizes = super().sizes_at(image_size, named)
        if sizes["patch_size"] == self.patch_size:
            factor = math.isqrt(self.tokens_mlp_dim // sizes["tokens_mlp_dim"])
            if self.tokens_mlp_dim == factor**2 * sizes["tokens_mlp_dim"]:
                sizes["tokens_mlp_dim"] = self.at_image_size(image_size).tokens_mlp_dim
        return sizes

    def fits(self, wanted: ModelSpec) -> bool:
        """As in the base class; token MLPs may grow with the token count or keep their width."""
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

        Token MLPs that grow follow MLP-Mixer, section 3 and appendix C; others are resampled.
        """
        keeps_width = self.tokens_mlp_dim == wanted.tokens_mlp_dim
        change = resample_token_mlp if keeps_width else tile_token_mlp
        return lambda *mlp: change(*mlp, self.grid, wanted.grid)


def tile_token_mlp(
    kernel_0: np.ndarray,
    bias_0: np.ndarray,
    kernel_1: np.ndarray,
    bias_1: np.ndarray,
    grid: int,
    new_grid: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Copies a token MLP [S, D_S], [D_S], [D_S, S], [S] to each of K x K tiles of a larger image.

    Returns [K^2 S, K^2 D_S], [K^2 D_S], [K^2 D_S, K^2 S], [K^2 S], block-diagonal. The paper orders
    the tokens tile by tile, but here they are in row-major order over the whole image, so the token
    axes are permuted.
    """
    factor = new_grid // grid
    tiles, (tokens, hidden) = factor**2, kernel_0.shape
    place = token_places(grid, factor)  # [K^2, S]
    new_kernel_0 = np.zeros((tiles * tokens, tiles * hidden), kernel_0.dtype)
    new_kernel_1 = np.zeros((tiles * hidden, tiles * tokens), kernel_1.dtype)
    new_bias_1 = np.zeros(tiles * tokens, bias_1.dtype)
    for tile in range(tiles):
        units = slice(tile * hidden, (tile + 1) * hidden)
        new_kernel_0[place[tile], units] = kernel_0
        new_kernel_1[units, place[tile]] = kernel_1
        new_bias_1[place[tile]] = bias_1
    return new_kernel_0, np.tile(bias_0, tiles), new_kernel_1, new_bias_1


def token_places(grid: int, factor: int) -> np.ndarray:
    """Returns the row-major index in the larger image of each tile's tokens, int [K^2, S]."""
    side = grid * factor
    places = np.arange(side**2).reshape(factor, grid, factor, grid)  # Tile row, row, column.
    return places.swapaxes(1, 2).reshape(factor**2, grid**2)


def resample_token_mlp(
    kernel_0: np.ndarray,
    bias_0: np.ndarray,
    kernel_1: np.ndarray,
    bias_1: np.ndarray,
    grid: int,
    new_grid: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Resamples a token MLP [S, D_S], [D_S], [D_S, S], [S] to another number of tokens; D_S stays.

    Each hidden unit's input and output weights over the tokens are resampled bilinearly as an
    image. Input weights are scaled by the ratio of the token counts, so that a hidden unit's sum
    over a constant input stays the same. This is not in the paper, which changes the resolution
    only by integer factors.
    """
    weights = bilinear(grid, new_grid)  # [new S, S]
    ratio = grid**2 / new_grid**2
    return (
        (weights @ kernel_0 * ratio).astype(kernel_0.dtype),
        bias_0,
        (kernel_1 @ weights.T).astype(kernel_1.dtype),
        (weights @ bias_1).astype(bias_1.dtype),
    )
