"""ResNet-v2 as in Big Transfer (arXiv:1912.11370, section 3.3): the convolutional baseline.

Group normalization and weight standardization (arXiv:1903.10520) replace batch normalization, so a
ResNet trains and evaluates like every other model here.

Shapes: B batch, H and W pixels or spatial positions, C channels, K classes.
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
EXPANSION = 4  # Output channels of a unit over inner channels.
NUM_GROUPS = 32
EPSILON = 1e-5  # Of group normalization, as in the released code.
WEIGHT_EPSILON = 1e-10  # Of weight standardization, as in the released code.
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
        """As `nn.Module.param`, with a standardized kernel."""
        value = super().param(name, *args, **kwargs)
        if name != "kernel":
            return value
        mean = value.mean((0, 1, 2), keepdims=True)
        variance = value.var((0, 1, 2), keepdims=True)
        return (value - mean) / jnp.sqrt(variance + WEIGHT_EPSILON)


class Unit(nn.Module):
    """A pre-activation bottleneck of three convolutions with a skip connection."""

    width: int  # Inner channels.
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
    """Stem, stages of units (each after the first halves the resolution), mean pooling, head.

    With `num_classes` 0 the module has no head and returns the pooled features [B, C].
    """

    num_classes: int
    units: tuple[int, ...]  # Per stage.
    width_factor: int
    dtype: Any = jnp.float32  # Of computation; parameters, pooling and head are float32.

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps images [B, H, W, 3], in the value range of the weights, to logits [B, K], float32.

        `train` has no effect.
        """
        del train
        width = STEM_WIDTH * self.width_factor
        x = _conv(width, 7, 2, self.dtype, "stem")(images)  # [B, H / 2, W / 2, C]
        # Max pooling pads with zeros instead of -inf, as in the released code.
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
    """Returns the module name of a unit; indices count from 0, names from 1."""
    return f"stage_{stage + 1}_unit_{unit + 1}"


def _conv(width: int, size: int, stride: int, dtype: Any, name: str) -> nn.Module:
    return StdConv(
        width, (size, size), strides=stride, padding=size // 2, use_bias=False, dtype=dtype,
        name=name,
    )  # fmt: skip


def _activated(x: jax.Array, dtype: Any, name: str) -> jax.Array:
    return nn.relu(nn.GroupNorm(NUM_GROUPS, epsilon=EPSILON, dtype=dtype, name=name)(x))


def _from_published_name(name: str) -> str:
    """Maps a name in google-research/big_transfer's npz files to this repository's."""
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
    """Converts the head, a 1 x 1 convolution in these files, to a matrix."""
    return array.reshape(array.shape[-2:]) if name == "head/kernel" else array


@frozen_settings
class ResNetSpec(ModelSpec):
    """Spec of a ResNet-v2."""

    TITLE: ClassVar = "ResNet"
    MODULE: ClassVar = ResNet
    MODELS: ClassVar = {
        "resnet": {},
        **{f"resnet_{name}": sizes for name, sizes in RESNET_SIZES.items()},
    }
    SIZES: ClassVar = ("units", "width_factor")
    # The parameters do not determine the image size; 224 was used in pre-training.
    GOOGLE_NUMERICS: ClassVar = GOOGLE_PREPROCESSING | dict(image_size=224)
    LAYOUTS: ClassVar = (
        Layout(
            "published BiT",
            "resnet/root_block/standardized_conv2d/kernel",
            _from_published_name,
            _from_published_axes,
        ),
    )
    TENSOR_PARALLEL: ClassVar = (  # Splits outputs of conv_a, inputs of conv_b.
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
        """See `ModelSpec.layers`: the output of each stage."""
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
        """See `ModelSpec.own_patch`: the patch size of MLP-Mixer, section 3.4."""
        return OWN_PATCH

    def resized(self, arrays: Mapping[str, np.ndarray], wanted: Self) -> dict[str, np.ndarray]:
        """See `ModelSpec.resized`."""
        return dict(arrays)

    def resolution_change(self, wanted: Self) -> str:
        """See `ModelSpec.resolution_change`."""
        return ", to which convolutions are indifferent"
