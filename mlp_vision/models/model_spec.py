"""Model specs: everything but the parameters: sizes, numerics and preprocessing."""

import abc
import dataclasses
import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pydantic

from mlp_core.config import PositiveInt, frozen_settings
from mlp_core.errors import UserError
from mlp_vision.models.layers import check_patch_size
from mlp_vision.models.permutations import Permutation
from mlp_vision.models.weight_layouts import Arrays, Layout

EvalPresetName = Literal["squash", "resize_crop", "resmall_crop", "timm"]
Output = Literal["softmax", "sigmoid"]


def _rising(value_range: tuple[float, float]) -> tuple[float, float]:
    if value_range[0] >= value_range[1]:
        raise ValueError("the lower end comes first")
    return value_range


# Range of the pixel values that the model takes.
ValueRange = Annotated[tuple[float, float], pydantic.AfterValidator(_rising)]

# Preprocessing by the origin of the weights. Google's follows MLP-Mixer, appendix C; timm's follows
# the data configuration of its weights.
GOOGLE_PREPROCESSING = dict(eval_preset="resmall_crop", value_range=(-1.0, 1.0))
TIMM_PREPROCESSING = dict(eval_preset="timm", value_range=(-1.0, 1.0))

Shapes = Mapping[str, tuple[int, ...]]


class Layer(NamedTuple):
    """An intermediate output of a model."""

    module: str  # Name of the submodule.
    shape: tuple[int, ...]  # Of one example's output.


@frozen_settings
class ModelSpec(abc.ABC):
    """A trained model without its parameters; a subclass for each architecture."""

    TITLE: ClassVar[str]  # For messages.
    MODULE: ClassVar[type[nn.Module]]
    MODELS: ClassVar[Mapping[str, Mapping[str, Any]]]  # Fields that each name fixes.
    SIZES: ClassVar[tuple[str, ...]]  # Fields that fix the parameters' shapes and use.
    NUMERICS: ClassVar[tuple[str, ...]] = ()  # Other fields of MODULE that weights come with.
    GOOGLE_NUMERICS: ClassVar[Mapping[str, Any]] = GOOGLE_PREPROCESSING
    TIMM_NUMERICS: ClassVar[Mapping[str, Any]] = TIMM_PREPROCESSING
    LAYOUTS: ClassVar[tuple[Layout, ...]] = ()  # Foreign layouts of weight files.
    TENSOR_PARALLEL: ClassVar[tuple[str, ...]] = ()  # See `mlp_core.distributed.sharding`.

    num_classes: pydantic.NonNegativeInt  # 0 without a head.
    image_size: PositiveInt  # Pixels per side.
    eval_preset: EvalPresetName
    value_range: ValueRange
    output: Output  # Maps logits to probabilities.
    permutation: Permutation = "none"  # Of the input pixels.
    permuted_patch: PositiveInt | None = None  # Pixels per side; None: `own_patch`.
    class_names: tuple[str, ...] = ()  # In the order of the logits; empty if unknown.

    @classmethod
    def default_sizes(cls) -> dict[str, Any]:
        """Returns the defaults of those SIZES that have one."""
        fields = {field.name: field.default for field in dataclasses.fields(cls)}
        return {n: fields[n] for n in cls.SIZES if fields[n] is not dataclasses.MISSING}

    @classmethod
    @abc.abstractmethod
    def sizes_in(cls, shapes: Shapes) -> dict[str, Any]:
        """Infers the sizes, and the `image_size` if possible, from parameter shapes.

        Raises:
            KeyError, ValueError: the shapes do not match this architecture.
        """

    @property
    @abc.abstractmethod
    def layers(self) -> Mapping[str, Layer]:
        """Layers other than the pooled features that `features` can write, by name."""

    @property
    @abc.abstractmethod
    def feature_dim(self) -> int:
        """Channels of the pooled features."""

    @property
    @abc.abstractmethod
    def own_patch(self) -> int:
        """Default of `moved_patch` when `permuted_patch` is None."""

    @property
    def moved_patch(self) -> int:
        """Side in pixels of the patches that `permutation` moves."""
        return self.permuted_patch or self.own_patch

    def check_permutation(self) -> None:
        """Checks the patch size of the permutation.

        Raises:
            UserError: the permuted patches do not divide the image size.
        """
        if self.permutation == "patches":
            try:
                check_patch_size(self.moved_patch, (self.image_size, self.image_size))
            except UserError as error:
                raise UserError(f"config.data.permuted_patch: {error}") from None

    @abc.abstractmethod
    def resized(self, arrays: Arrays, wanted: Self) -> dict[str, np.ndarray]:
        """Resizes parameters, by name, to the resolution of `wanted`, which `fits` this spec."""

    @abc.abstractmethod
    def resolution_change(self, wanted: Self) -> str:
        """Describes briefly what `resized` does."""

    def in_timm(self) -> str:
        """Returns the call that creates this model in timm.

        Raises:
            UserError: timm has no such model, or its parameter names are unknown.
        """
        raise UserError(f"{self.TITLE} is not written in timm's form; an npz file holds it.")

    @property
    def sizes(self) -> dict[str, Any]:
        """The fields in SIZES, by name."""
        return {name: getattr(self, name) for name in self.SIZES}

    def create_model(self, dtype: Any = jnp.float32, **training: Any) -> nn.Module:
        """Creates the module; `training` sets other fields, such as dropout rates."""
        numerics = {name: getattr(self, name) for name in self.NUMERICS}
        return self.MODULE(
            num_classes=self.num_classes, dtype=dtype, **self.sizes, **numerics, **training
        )

    def at_image_size(self, image_size: int) -> Self:
        """Returns the spec of the same model for another image size.

        Raises:
            UserError: the model does not support this image size.
        """
        if image_size < 1:
            raise UserError(f"images of {image_size} pixels: there must be one at least.")
        return dataclasses.replace(self, image_size=image_size)

    def sizes_at(self, image_size: int, named: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the sizes of a model initialized from this one, overridden by `named`."""
        return self.sizes | named

    def fits(self, wanted: "ModelSpec") -> bool:
        """Whether `resized` can turn these parameters into those of `wanted`."""
        return type(self) is type(wanted) and self.sizes == wanted.sizes

    def adapted(self, image_size: int | None = None, **numerics: Any) -> Self:
        """Returns the spec with another image size or other numerics; None keeps a value.

        Raises:
            UserError: see `at_image_size` and `check_permutation`.
        """
        changes = {name: value for name, value in numerics.items() if value is not None}
        resized = self if image_size is None else self.at_image_size(image_size)
        spec = dataclasses.replace(resized, **changes)
        spec.check_permutation()
        return spec

    def preprocessing(self) -> str:
        """Describes the preprocessing briefly."""
        low, high = self.value_range
        return (
            f"preset {self.eval_preset} at {self.image_size} x {self.image_size} pixels, values "
            f"{low:g} to {high:g}"
            + ("" if self.permutation == "none" else f", {self.permutation} permuted")
        )

    def to_json(self) -> str:
        """Returns the spec as one line of JSON."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False)
