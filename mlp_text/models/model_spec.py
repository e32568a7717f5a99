"""Specification of a text model without its parameters: sizes, form, numerics, classes."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import pydantic
from pydantic import Field

from mlp_core.config import NumBlocks, PositiveFloat, PositiveInt, frozen_settings
from mlp_core.errors import UserError
from mlp_core.nn.parameters import flatten
from mlp_core.nn.stack import Remat
from mlp_core.process.files import read_text
from mlp_text.models.bert import BertEncoder
from mlp_text.models.gmlp import GmlpEncoder
from mlp_text.models.text_models import MaskedLm, TextClassifier

Gating = Literal["split", "multiplicative", "additive", "linear"]
SpatialMatrix = Literal["full", "toeplitz"]
BertFeatures = Literal["last", "second_last", "sum4", "concat4"]
Pooling = Literal["cls", "mean"]
Head = Literal["none", "masked_lm", "classification"]
Gelu = Literal["tanh", "erf"]


@frozen_settings
class BertEncoderSpec:
    """Specification of a BERT encoder."""

    architecture: Literal["bert"] = "bert"
    vocab_size: PositiveInt
    hidden_dim: PositiveInt
    num_blocks: NumBlocks
    num_heads: PositiveInt
    ffn_dim: PositiveInt
    max_length: PositiveInt
    num_segments: PositiveInt = 2
    gelu: Gelu = "erf"
    layer_norm_epsilon: PositiveFloat = 1e-12

    def create(self, dtype: Any = jnp.float32, **training: Any) -> BertEncoder:
        """Creates the encoder; `training` may set dropout rates, `scan_layers` and `remat`."""
        fields = dataclasses.asdict(self)
        del fields["architecture"]
        return BertEncoder(**fields, dtype=dtype, **training)


@frozen_settings
class GmlpEncoderSpec:
    """Specification of a gMLP, tMLP or aMLP, optionally on features of a BERT."""

    architecture: Literal["gmlp"] = "gmlp"
    vocab_size: PositiveInt
    hidden_dim: PositiveInt
    num_blocks: NumBlocks
    ffn_dim: PositiveInt
    max_length: PositiveInt
    gating: Gating = "split"
    spatial_matrix: SpatialMatrix = "full"
    tiny_attention_dim: Annotated[int, Field(ge=0)] = 0
    segments: bool = False
    mask_pads: bool = False
    gelu: Gelu = "tanh"
    layer_norm_epsilon: PositiveFloat = 1e-6
    gate_layer_norm_epsilon: PositiveFloat = 1e-6
    bert: BertEncoderSpec | None = None
    bert_features: BertFeatures = "last"

    @pydantic.model_validator(mode="after")
    def _check(self):
        if self.gating == "split" and self.ffn_dim % 2:
            raise ValueError(f"ffn_dim={self.ffn_dim} cannot be split in halves; make it even")
        return self

    def create(
        self,
        dtype: Any = jnp.float32,
        bert_dropout_rate: float = 0.0,
        scan_layers: bool = False,
        remat: Remat = "none",
        **training: Any,
    ) -> GmlpEncoder:
        """Creates the encoder; `training` may set rates of dropout and stochastic depth."""
        blocks = dict(scan_layers=scan_layers, remat=remat)
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del fields["architecture"]
        if self.bert is not None:
            rates = dict.fromkeys(("dropout_rate", "attention_dropout_rate"), bert_dropout_rate)
            fields["bert"] = self.bert.create(dtype, **rates, **blocks)
        return GmlpEncoder(**fields, dtype=dtype, **blocks, **training)


EncoderSpec = Annotated[BertEncoderSpec | GmlpEncoderSpec, Field(discriminator="architecture")]


@frozen_settings
class TextModelSpec:
    """Specification of a trained text model."""

    encoder: EncoderSpec
    head: Head
    pooling: Pooling = "cls"  # Used by classifiers.
    num_classes: Annotated[int, Field(ge=0)] = 0
    class_names: tuple[str, ...] = ()  # In the order of the logits.
    takes_pairs: bool = False  # Whether a classifier reads sentence pairs.

    @property
    def max_length(self) -> int:
        """Number of tokens in a sequence."""
        return self.encoder.max_length

    @property
    def bert_below(self) -> BertEncoderSpec | None:
        """The BERT whose states feed a gMLP, if any."""
        return self.encoder.bert if isinstance(self.encoder, GmlpEncoderSpec) else None

    def create_model(
        self, dtype: Any = jnp.float32, head_dropout_rate: float = 0.0, **training: Any
    ) -> nn.Module:
        """Creates the model; `training` is passed to the encoder."""
        encoder = self.encoder.create(dtype, **training)
        if self.head == "none":
            return encoder
        if self.head == "masked_lm":
            return MaskedLm(encoder, self.encoder.gelu, self.encoder.layer_norm_epsilon, dtype)
        return TextClassifier(encoder, self.num_classes, self.pooling, head_dropout_rate)

    def to_json(self) -> str:
        """Returns the specification as one line of JSON."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False)


def expected_params(model: nn.Module, spec: TextModelSpec) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns the parameter shapes of `model`, specified by `spec`, by name."""
    ids = jax.ShapeDtypeStruct((1, spec.max_length), jnp.int32)
    return flatten(jax.eval_shape(model.init, jax.random.key(0), ids)["params"])


def read_spec(file: Path) -> TextModelSpec:
    """Reads a model specification written by `TextModelSpec.to_json`.

    Raises:
        UserError: it is missing, corrupt, or of another kind of model.
    """
    try:
        text = read_text(file)
        return pydantic.TypeAdapter(TextModelSpec).validate_json(text)
    except pydantic.ValidationError as error:
        raise UserError(f"{file}: does not describe a text model ({reason_of(error)}).") from error
    except (OSError, ValueError) as error:
        raise UserError(
            f"{file}: the description of the model cannot be read ({error}); without it the "
            "checkpoints there cannot be used."
        ) from error


def reason_of(error: pydantic.ValidationError) -> str:
    """Returns why a specification is invalid, without a full stop."""
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    reason = first["msg"].removeprefix("Value error, ")
    return f"{place}: {reason[0].lower()}{reason[1:]}" if place else reason


def fields_of(spec: EncoderSpec) -> dict[str, Any]:
    """Returns the fields of an encoder by name."""
    return {field.name: getattr(spec, field.name) for field in dataclasses.fields(spec)}
