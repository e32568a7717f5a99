"""What must be known beside its parameters to use a model: sizes, numerics, preprocessing.

It travels with the parameters: `model.json` in the folder of a run, metadata in an exported file.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import jax.numpy as jnp
import pydantic

from mlp_core.config import PositiveFloat, PositiveInt, frozen_settings
from mlp_core.errors import UserError
from mlp_vision.mixer import Mixer, check_patch_size
from mlp_vision.models import SIZE_FIELDS

EvalPresetName = Literal["squash", "resize_crop", "resmall_crop", "timm"]
Output = Literal["softmax", "sigmoid"]


def _rising(value_range: tuple[float, float]) -> tuple[float, float]:
    if value_range[0] >= value_range[1]:
        raise ValueError("the lower end comes first")
    return value_range


# Of pixels, as the model sees them.
ValueRange = Annotated[tuple[float, float], pydantic.AfterValidator(_rising)]

METADATA_KEY = "all_mlp_model"  # In weight files.

# Numerics by the origin of weights. Google's: vision_transformer's models_mixer.py and MLP-Mixer,
# appendix C; timm's: its mlp_mixer.py and the data configuration of its Mixer weights.
GOOGLE_NUMERICS = dict(
    gelu="tanh", layer_norm_epsilon=1e-6, eval_preset="resmall_crop", value_range=(-1.0, 1.0)
)
TIMM_NUMERICS = dict(
    gelu="erf", layer_norm_epsilon=1e-6, eval_preset="timm", value_range=(-1.0, 1.0)
)


@frozen_settings
class ModelSpec:
    """A trained model without its parameters."""

    patch_size: PositiveInt
    hidden_dim: PositiveInt
    num_blocks: PositiveInt
    tokens_mlp_dim: PositiveInt
    channels_mlp_dim: PositiveInt
    num_classes: pydantic.NonNegativeInt  # 0 without a head.
    gelu: Literal["tanh", "erf"]
    layer_norm_epsilon: PositiveFloat
    image_size: PositiveInt  # Pixels a side.
    eval_preset: EvalPresetName
    value_range: ValueRange
    output: Output  # How logits become probabilities.
    class_names: tuple[str, ...] = ()  # In the order of the logits; empty where not known.

    @property
    def sizes(self) -> dict[str, int]:
        """The sizes that the paper's table 1 gives for a model, by field name."""
        return {name: getattr(self, name) for name in SIZE_FIELDS}

    @property
    def grid(self) -> int:
        """Tokens a side."""
        return self.image_size // self.patch_size

    def create_model(self, dtype: Any = jnp.float32, **training: Any) -> Mixer:
        """The model; `training` may set `dropout_rate` and `stochastic_depth`."""
        return Mixer(
            num_classes=self.num_classes,
            gelu=self.gelu,
            layer_norm_epsilon=self.layer_norm_epsilon,
            dtype=dtype,
            **self.sizes,
            **training,
        )

    def at_image_size(self, image_size: int) -> "ModelSpec":
        """The same model for images of another size.

        A side longer by a whole factor K widens the token MLP by K squared (MLP-Mixer, section 3);
        for any other size its width stays.

        Raises:
            UserError: the patch size does not divide `image_size`.
        """
        if image_size < 1:
            raise UserError(f"images of {image_size} pixels: there must be one at least.")
        check_patch_size(self.patch_size, (image_size, image_size))
        factor, rest = divmod(image_size, self.image_size)
        widening = factor**2 if rest == 0 else 1
        return dataclasses.replace(
            self, image_size=image_size, tokens_mlp_dim=self.tokens_mlp_dim * widening
        )

    def adapted(self, image_size: int | None = None, **numerics: Any) -> "ModelSpec":
        """The same model at another image size or with other numerics; None leaves things alone.

        Raises:
            UserError: the patch size does not divide `image_size`.
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
        )

    def to_json(self) -> str:
        """As one line of JSON."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False)


def read_spec(file: Path) -> ModelSpec:
    """Reads the description of a run's model.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{file}: the description of the model cannot be read ({error}); without it the "
            "checkpoints there cannot be used."
        ) from error
    return spec_from_json(text, file)


def spec_from_json(text: str, origin: Path) -> ModelSpec:
    """Reads what `to_json` wrote.

    Raises:
        UserError: it is something else; names `origin`.
    """
    try:
        return pydantic.TypeAdapter(ModelSpec).validate_json(text)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            f"{origin}: does not describe a model of this project "
            f"({'.'.join(map(str, first['loc']))}: {first['msg']})."
        ) from error


def metadata_of(spec: ModelSpec) -> Mapping[str, str]:
    """What an exported weight file says about its model."""
    return {METADATA_KEY: spec.to_json()}
