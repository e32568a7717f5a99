"""What must be known beside its parameters to use a model: sizes, numerics, preprocessing."""

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


# Of pixels, as the model sees them.
ValueRange = Annotated[tuple[float, float], pydantic.AfterValidator(_rising)]

# What weights are used with, by their origin; a model has its own numbers besides. Google's:
# MLP-Mixer, appendix C; timm's: the data configuration of its weights.
GOOGLE_PREPROCESSING = dict(eval_preset="resmall_crop", value_range=(-1.0, 1.0))
TIMM_PREPROCESSING = dict(eval_preset="timm", value_range=(-1.0, 1.0))

Shapes = Mapping[str, tuple[int, ...]]


class Layer(NamedTuple):
    """What a part of a model gives."""

    module: str  # The submodule, as it is called in the model.
    shape: tuple[int, ...]  # Of one example's result.


@frozen_settings
class ModelSpec(abc.ABC):
    """A trained model without its parameters; a subclass for each architecture."""

    TITLE: ClassVar[str]  # In words.
    MODULE: ClassVar[type[nn.Module]]
    MODELS: ClassVar[Mapping[str, Mapping[str, Any]]]  # By name, the fields that the name settles.
    SIZES: ClassVar[tuple[str, ...]]  # Fields that settle the parameters' shapes and their use.
    NUMERICS: ClassVar[tuple[str, ...]] = ()  # Other fields of MODULE that weights come with.
    GOOGLE_NUMERICS: ClassVar[Mapping[str, Any]] = GOOGLE_PREPROCESSING
    TIMM_NUMERICS: ClassVar[Mapping[str, Any]] = TIMM_PREPROCESSING
    LAYOUTS: ClassVar[tuple[Layout, ...]] = ()  # Of weight files, besides our own.
    TENSOR_PARALLEL: ClassVar[tuple[str, ...]] = ()  # See `mlp_core.distributed.sharding`.

    num_classes: pydantic.NonNegativeInt  # 0 without a head.
    image_size: PositiveInt  # Pixels a side.
    eval_preset: EvalPresetName
    value_range: ValueRange
    output: Output  # How logits become probabilities.
    permutation: Permutation = "none"  # Of pixels, before the model sees them.
    permuted_patch: PositiveInt | None = None  # Pixels a side, of "patches"; None: `own_patch`.
    class_names: tuple[str, ...] = ()  # In the order of the logits; empty where not known.

    @classmethod
    def default_sizes(cls) -> dict[str, Any]:
        """Those of SIZES that need not be given."""
        fields = {field.name: field.default for field in dataclasses.fields(cls)}
        return {n: fields[n] for n in cls.SIZES if fields[n] is not dataclasses.MISSING}

    @classmethod
    @abc.abstractmethod
    def sizes_in(cls, shapes: Shapes) -> dict[str, Any]:
        """The sizes, and the `image_size` if it is told, of parameters of these shapes.

        Raises:
            KeyError, ValueError: they are not those of this architecture.
        """

    @property
    @abc.abstractmethod
    def layers(self) -> Mapping[str, Layer]:
        """What `features` can write besides the pooled features, by name."""

    @property
    @abc.abstractmethod
    def feature_dim(self) -> int:
        """Channels of the pooled features."""

    @property
    @abc.abstractmethod
    def own_patch(self) -> int:
        """What `moved_patch` is where the field `permuted_patch` names none."""

    @property
    def moved_patch(self) -> int:
        """Pixels a side of the patches that `permutation` moves."""
        return self.permuted_patch or self.own_patch

    def check_permutation(self) -> None:
        """Refuses patches that change places and do not divide the image size.

        Raises:
            UserError: they do not.
        """
        if self.permutation == "patches":
            try:
                check_patch_size(self.moved_patch, (self.image_size, self.image_size))
            except UserError as error:
                raise UserError(f"config.data.permuted_patch: {error}") from None

    @abc.abstractmethod
    def resized(self, arrays: Arrays, wanted: Self) -> dict[str, np.ndarray]:
        """Parameters by name as those of `wanted`, which is one that `fits`, of another size."""

    @abc.abstractmethod
    def resolution_change(self, wanted: Self) -> str:
        """What `resized` does, in a few words."""

    def in_timm(self) -> str:
        """The call that makes this model in timm.

        Raises:
            UserError: timm has no such model, or its names are not known here.
        """
        raise UserError(f"{self.TITLE} is not written in timm's form; an npz file holds it.")

    @property
    def sizes(self) -> dict[str, Any]:
        """What settles the parameters, by field name."""
        return {name: getattr(self, name) for name in self.SIZES}

    def create_model(self, dtype: Any = jnp.float32, **training: Any) -> nn.Module:
        """The model; `training` may set its other fields, such as rates of dropout."""
        numerics = {name: getattr(self, name) for name in self.NUMERICS}
        return self.MODULE(
            num_classes=self.num_classes, dtype=dtype, **self.sizes, **numerics, **training
        )

    def at_image_size(self, image_size: int) -> Self:
        """The same model for images of another size.

        Raises:
            UserError: the model does not take such images.
        """
        if image_size < 1:
            raise UserError(f"images of {image_size} pixels: there must be one at least.")
        return dataclasses.replace(self, image_size=image_size)

    def sizes_at(self, image_size: int, named: Mapping[str, Any]) -> dict[str, Any]:
        """The sizes of a model that starts from this one, where `named` are asked for."""
        return self.sizes | named

    def fits(self, wanted: "ModelSpec") -> bool:
        """Whether these parameters can be made into those of `wanted` by a change of resolution."""
        return type(self) is type(wanted) and self.sizes == wanted.sizes

    def adapted(self, image_size: int | None = None, **numerics: Any) -> Self:
        """The same model at another image size or with other numerics; None leaves things alone.

        Raises:
            UserError: see `at_image_size` and `check_permutation`.
        """
        changes = {name: value for name, value in numerics.items() if value is not None}
        resized = self if image_size is None else self.at_image_size(image_size)
        spec = dataclasses.replace(resized, **changes)
        spec.check_permutation()
        return spec

    def preprocessing(self) -> str:
        """How pictures become input, in a few words."""
        low, high = self.value_range
        return (
            f"preset {self.eval_preset} at {self.image_size} x {self.image_size} pixels, values "
            f"{low:g} to {high:g}"
            + ("" if self.permutation == "none" else f", {self.permutation} permuted")
        )

    def to_json(self) -> str:
        """As one line of JSON."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False)
