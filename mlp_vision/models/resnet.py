"""ResNet-v2 as in Big Transfer (arXiv:1912.11370, section 3.3): the convolutional baseline.

Group normalisation and standardised weights (arXiv:1903.10520) take the place of batch
normalisation, so that a ResNet trains and evaluates like every other model here.

Shapes: B batch, H and W pixels or places, C channels, K classes.
"""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pydantic

from mlp_core.config import PositiveInt, frozen_settings
from mlp_vision.models.layers import linear_head
from mlp_vision.models.model_spec import GOOGLE_PREPROCESSING, Layer, ModelSpec, Shapes
from mlp_vision.models.weight_layouts import Layout

STEM_WIDTH = 64  # Times `width_factor`.
EXPANSION = 4  # Channels behind a unit over those inside it.
NUM_GROUPS = 32
EPSILON = 1e-5  # Of group normalisation, as released.
WEIGHT_EPSILON = 1e-10  # Of the standardised weights' variance, as released.
UNIT = re.compile(r"stage_(\d+)_unit_\d+")  # See `unit_name`.
OWN_PATCH = 16

NumUnits = Annotated[tuple[PositiveInt, ...], pydantic.Field(min_length=1, max_length=9)]

RESNET_SIZES = {
    f"{depth}x{width}": dict(units=units, width_factor=width)
    for depth, units, widths in (
        (50, (3, 4, 6, 3), (1, 3)),
        (101, (3, 4, 23, 3), (1, 3)),
        (152, (3, 8, 36, 3), (2, 4)),
    )
    for width in widths
}


class StdConv(nn.Conv):
    """A convolution whose weights have mean 0 and variance 1 over the inputs of each output."""

    def param(self, name: str, *args, **kwargs) -> jax.Array:
        """As `nn.Module.param`; the kernel comes standardised."""
        value = super().param(name, *args, **kwargs)
        if name != "kernel":
            return value
        mean = value.mean((0, 1, 2), keepdims=True)
        variance = value.var((0, 1, 2), keepdims=True)
        return (value - mean) / jnp.sqrt(variance + WEIGHT_EPSILON)


class Unit(nn.Module):
    """A bottleneck: normalise, ReLU and convolve three times, with a skip around."""

    width: int  # Channels inside.
    stride: int = 1
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [B, H, W, C] to [B, H / stride, W / stride, 4 width]."""
        y = _activated(x, self.dtype, "norm_a")
        out, skip = EXPANSION * self.width, x
        if x.shape[-1] != out or self.stride != 1:
            skip = _conv(out, 1, self.stride, self.dtype, "project")(y)
        y = _conv(self.width, 1, 1, self.dtype, "conv_a")(y)
        y = _activated(y, self.dtype, "norm_b")
        y = _conv(self.width, 3, self.stride, self.dtype, "conv_b")(y)
        y = _activated(y, self.dtype, "norm_c")
        return skip + _conv(out, 1, 1, self.dtype, "conv_c")(y)


class ResNet(nn.Module):
    """Stem, stages of units, each but the first at half the resolution, mean over places, head.

    With `num_classes` 0 there is no head and the pooled features [B, C] come out.
    """

    num_classes: int
    units: tuple[int, ...]  # Of each stage.
    width_factor: int
    dtype: Any = jnp.float32  # Of the arithmetic; parameters, pooling and head are float32.

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps images [B, H, W, 3], in the value range of the weights, to logits [B, K], float32.

        `train` makes no difference.
        """
        del train
        width = STEM_WIDTH * self.width_factor
        x = _conv(width, 7, 2, self.dtype, "stem")(images)  # [B, H / 2, W / 2, C]
        # Zeros, not what is smaller than all, around: as released.
        x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        x = nn.max_pool(x, (3, 3), strides=(2, 2))  # [B, H / 4, W / 4, C]
        for stage, units in enumerate(self.units):
            for unit in range(units):
                stride = 2 if stage and not unit else 1
                name = unit_name(stage, unit)
                x = Unit(width * 2**stage, stride, self.dtype, name=name)(x)
        x = _activated(x, self.dtype, "norm")
        x = jnp.mean(x, axis=(1, 2), dtype=jnp.float32)  # [B, C]
        return linear_head(x, self.num_classes)  # [B, K]


def unit_name(stage: int, unit: int) -> str:
    """What a unit is called in the model; both are counted from 0, names from 1."""
    return f"stage_{stage + 1}_unit_{unit + 1}"


def _conv(width: int, size: int, stride: int, dtype: Any, name: str) -> nn.Module:
    return StdConv(
        width, (size, size), strides=stride, padding=size // 2, use_bias=False, dtype=dtype,
        name=name,
    )  # fmt: skip


def _activated(x: jax.Array, dtype: Any, name: str) -> jax.Array:
    return nn.relu(nn.GroupNorm(NUM_GROUPS, epsilon=EPSILON, dtype=dtype, name=name)(x))


def _from_published_name(name: str) -> str:
    """Names of google-research/big_transfer's npz files as ours."""
    name = name.removeprefix("resnet/")
    name = name.replace("group_norm/gamma", "norm/scale").replace("group_norm/beta", "norm/bias")
    if match := re.fullmatch(r"block(\d+)/unit(\d+)/(.+)", name):
        part = match[3].replace("a/proj/standardized_conv2d", "project")
        part = re.sub(r"^([abc])/standardized_conv2d", r"conv_\1", part)
        part = re.sub(r"^([abc])/norm", r"norm_\1", part)
        return f"{unit_name(int(match[1]) - 1, int(match[2]) - 1)}/{part}"
    name = name.replace("root_block/standardized_conv2d", "stem")
    return name.replace("head/conv2d", "head")


def _from_published_axes(name: str, array: np.ndarray) -> np.ndarray:
    """Heads are convolutions there, of one pixel."""
    return array.reshape(array.shape[-2:]) if name == "head/kernel" else array


@frozen_settings
class ResNetSpec(ModelSpec):
    """A ResNet-v2 without its parameters."""

    TITLE: ClassVar = "ResNet"
    MODULE: ClassVar = ResNet
    MODELS: ClassVar = {
        "resnet": {},
        **{f"resnet_{name}": sizes for name, sizes in RESNET_SIZES.items()},
    }
    SIZES: ClassVar = ("units", "width_factor")
    # Arrays do not tell the image size; that of pre-training.
    GOOGLE_NUMERICS: ClassVar = GOOGLE_PREPROCESSING | dict(image_size=224)
    LAYOUTS: ClassVar = (
        Layout(
            "published BiT",
            "resnet/root_block/standardized_conv2d/kernel",
            _from_published_name,
            _from_published_axes,
        ),
    )
    TENSOR_PARALLEL: ClassVar = (  # Convolutions by their outputs, then by their inputs.
        r"stage_\d+_unit_\d+/conv_a/kernel=-,-,-,model",
        r"stage_\d+_unit_\d+/conv_b/kernel=-,-,model,-",
    )

    architecture: Literal["resnet"] = "resnet"
    units: NumUnits
    width_factor: PositiveInt

    @classmethod
    def sizes_in(cls, shapes: Shapes) -> dict[str, Any]:
        """See `ModelSpec.sizes_in`."""
        *_, stem_width = shapes["stem/kernel"]
        width_factor, rest = divmod(stem_width, STEM_WIDTH)
        if rest:
            raise ValueError(f"a stem of {stem_width} channels")
        parts = {name.split("/")[0] for name in shapes}
        stages = Counter(int(match[1]) for match in map(UNIT.fullmatch, parts) if match)
        if not stages:
            raise KeyError(unit_name(0, 0))
        units = (stages[number] for number in range(1, len(stages) + 1))
        return dict(units=tuple(units), width_factor=width_factor)

    @property
    def layers(self) -> Mapping[str, Layer]:
        """See `ModelSpec.layers`: what each stage gives."""
        side, layers = -(-self.image_size // 4), {}
        for stage, units in enumerate(self.units):
            shape = (side, side, EXPANSION * STEM_WIDTH * self.width_factor * 2**stage)
            layers[f"stage_{stage + 1}"] = Layer(unit_name(stage, units - 1), shape)
            side = -(-side // 2)
        return layers

    @property
    def feature_dim(self) -> int:
        """See `ModelSpec.feature_dim`."""
        return EXPANSION * STEM_WIDTH * self.width_factor * 2 ** (len(self.units) - 1)

    @property
    def own_patch(self) -> int:
        """See `ModelSpec.own_patch`: those of MLP-Mixer, section 3.4."""
        return OWN_PATCH

    def resized(self, arrays: Mapping[str, np.ndarray], wanted: Self) -> dict[str, np.ndarray]:
        """See `ModelSpec.resized`."""
        return dict(arrays)

    def resolution_change(self, wanted: Self) -> str:
        """See `ModelSpec.resolution_change`."""
        return ", to which convolutions are indifferent"
