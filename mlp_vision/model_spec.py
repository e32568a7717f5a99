"""What must be known beside its parameters to use a model: sizes, numerics, preprocessing."""

import abc
import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pydantic

from mlp_core.config import NumBlocks, PositiveFloat, PositiveInt, frozen_settings
from mlp_core.errors import UserError
from mlp_vision.patches import check_patch_size
from mlp_vision.permutations import Permutation

EvalPresetName = Literal["squash", "resize_crop", "resmall_crop", "timm"]
Output = Literal["softmax", "sigmoid"]


def _rising(value_range: tuple[float, float]) -> tuple[float, float]:
    if value_range[0] >= value_range[1]:
        raise ValueError("the lower end comes first")
    return value_range


# Of pixels, as the model sees them.
ValueRange = Annotated[tuple[float, float], pydantic.AfterValidator(_rising)]

# Numerics by the origin of weights. Google's: vision_transformer's models_mixer.py and MLP-Mixer,
# appendix C; timm's: its mlp_mixer.py and the data configuration of its weights.
GOOGLE_NUMERICS = dict(
    gelu="tanh", layer_norm_epsilon=1e-6, eval_preset="resmall_crop", value_range=(-1.0, 1.0)
)
TIMM_NUMERICS = dict(
    gelu="erf", layer_norm_epsilon=1e-6, eval_preset="timm", value_range=(-1.0, 1.0)
)

Shapes = Mapping[str, tuple[int, ...]]


@frozen_settings
class ModelSpec(abc.ABC):
    """A trained model without its parameters; a subclass for each architecture."""

    TITLE: ClassVar[str]  # In words.
    MODULE: ClassVar[type[nn.Module]]
    BLOCK: ClassVar[str]  # Blocks are called BLOCK_0, BLOCK_1 ...
    TOKEN_MIXING: ClassVar[tuple[str, ...]]  # Arrays of a block that depend on the image size.
    SIZES: ClassVar[tuple[str, ...]]  # Fields that settle the parameters' shapes and their use.
    NUMERICS: ClassVar[tuple[str, ...]] = ("gelu", "layer_norm_epsilon")  # Fields of MODULE.
    TIMM_NUMERICS: ClassVar[Mapping[str, Any]] = TIMM_NUMERICS

    patch_size: PositiveInt
    hidden_dim: PositiveInt
    num_blocks: NumBlocks
    num_classes: pydantic.NonNegativeInt  # 0 without a head.
    gelu: Literal["tanh", "erf"]
    layer_norm_epsilon: PositiveFloat
    image_size: PositiveInt  # Pixels a side.
    eval_preset: EvalPresetName
    value_range: ValueRange
    output: Output  # How logits become probabilities.
    permutation: Permutation = "none"  # Of pixels, before the model sees them.
    class_names: tuple[str, ...] = ()  # In the order of the logits; empty where not known.

    @classmethod
    def default_sizes(cls) -> dict[str, Any]:
        """Those of SIZES that need not be given."""
        fields = {field.name: field.default for field in dataclasses.fields(cls)}
        return {n: fields[n] for n in cls.SIZES if fields[n] is not dataclasses.MISSING}

    @classmethod
    @abc.abstractmethod
    def sizes_in(cls, shapes: Shapes) -> dict[str, Any]:
        """The sizes but `num_blocks`, and the `image_size`, of parameters of these shapes.

        Raises:
            KeyError, ValueError: they are not those of this architecture.
        """

    @abc.abstractmethod
    def token_mixing_change(self, wanted: Self) -> Callable[..., tuple[np.ndarray, ...]]:
        """What makes the arrays TOKEN_MIXING of a block those of `wanted`, of another image size.

        `wanted` is one that `fits`.
        """

    @abc.abstractmethod
    def resolution_change(self, wanted: Self) -> str:
        """What `token_mixing_change` does, in a few words."""

    def in_timm(self) -> str:
        """The call that makes this model in timm.

        Raises:
            UserError: timm has no such model.
        """
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
        """What `in_timm` says of the architecture."""

    def _timm_ratio(self, width: int) -> float:
        """What timm multiplies the channels by, then truncates, to get `width`."""
        ratio = width / self.hidden_dim
        truncated = int(self.hidden_dim * ratio)
        return ratio if truncated == width else math.nextafter(ratio, math.inf)

    @property
    def sizes(self) -> dict[str, Any]:
        """What settles the parameters, by field name."""
        return {name: getattr(self, name) for name in self.SIZES}

    @property
    def grid(self) -> int:
        """Patches a side."""
        return self.image_size // self.patch_size

    @property
    def num_tokens(self) -> int:
        """Tokens that the blocks see."""
        return self.grid**2

    def create_model(self, dtype: Any = jnp.float32, **training: Any) -> nn.Module:
        """The model; `training` may set its other fields, such as rates of dropout."""
        numerics = {name: getattr(self, name) for name in self.NUMERICS}
        return self.MODULE(
            num_classes=self.num_classes, dtype=dtype, **self.sizes, **numerics, **training
        )

    def at_image_size(self, image_size: int) -> Self:
        """The same model for images of another size.

        Raises:
            UserError: the patch size does not divide `image_size`, or a model of this form cannot
              change its resolution.
        """
        if image_size < 1:
            raise UserError(f"images of {image_size} pixels: there must be one at least.")
        check_patch_size(self.patch_size, (image_size, image_size))
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
            UserError: see `at_image_size`.
        """
        changes = {name: value for name, value in numerics.items() if value is not None}
        resized = self if image_size is None else self.at_image_size(image_size)
        return dataclasses.replace(resized, **changes)

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
