"""Resolves the model of a configuration.

A field comes from the configuration, else from the model's name, else from the initial weights,
else from its default. A name without sizes, such as amlp, takes the size of the head from weights
that have one.
"""

import dataclasses
from typing import Any

import pydantic

from mlp_core.errors import UserError
from mlp_text.models.model_spec import (
    BertEncoderSpec,
    EncoderSpec,
    GmlpEncoderSpec,
    fields_of,
    reason_of,
)
from mlp_text.models.registry import find_model
from mlp_text.tasks.config import TextConfig

# Fields of any architecture in the configuration's group `model`.
MODEL_FIELDS = {
    field.name
    for architecture in (GmlpEncoderSpec, BertEncoderSpec)
    for field in dataclasses.fields(architecture)
} - {"architecture", "vocab_size", "max_length", "bert", "bert_features", "num_segments"}
# With fewer blocks the features would include the embeddings, which no block computes.
BLOCKS_FOR_FEATURES = {"last": 1, "second_last": 2, "sum4": 4, "concat4": 4}


def check_fields(settings: TextConfig) -> None:
    """Rejects unknown model names, and fields that the named model does not have.

    Raises:
        UserError: a field is invalid; names it.
    """
    name = settings.model.name
    architecture, _ = find_model(name)
    own = MODEL_FIELDS & _field_names(architecture)
    for field in sorted(MODEL_FIELDS - own):
        if getattr(settings.model, field) is not None:
            raise UserError(
                f"config.model.{field}: {name!r} has no such field; it has "
                f"{', '.join(sorted(own))}."
            )
    if architecture is BertEncoderSpec and settings.model.stochastic_depth:
        raise UserError(
            f"config.model.stochastic_depth: {name!r} drops no blocks; only gmlp, tmlp and amlp do."
        )
    if not settings.bert.name:
        return
    if find_model(settings.bert.name)[0] is not BertEncoderSpec:
        raise UserError(f"config.bert.name: {settings.bert.name!r} is no BERT.")
    if architecture is not GmlpEncoderSpec:
        raise UserError(
            f"config.bert.name: {name!r} cannot be fed with a BERT's states; choose gmlp, tmlp or "
            "amlp as config.model.name."
        )


def wanted_encoder(settings: TextConfig, start: EncoderSpec | None, vocab_size: int) -> EncoderSpec:
    """Returns the encoder of a run, given that of its initial weights.

    Args:
      settings: the experiment, validated by `check_fields`.
      start: encoder of the initial weights, which may be only the BERT below a gMLP; None: random.
      vocab_size: vocabulary size of the tokenizer.

    Raises:
        UserError: the weights are of another architecture, a field is missing, or fields are
          incompatible.
    """
    architecture, named = find_model(settings.model.name)
    if start:
        _check_architecture(settings, start, architecture)
    fields = fields_of(start) if isinstance(start, architecture) else {}
    if fields.get("tiny_attention_dim") and "hidden_dim" not in named:
        named = named | dict(tiny_attention_dim=fields["tiny_attention_dim"])
    fields |= named | _fields_set(settings, architecture) | dict(vocab_size=vocab_size)
    if settings.bert.name:
        fields |= _on_bert(settings, start, fields)
    if settings.task == "masked_lm" and fields.get("bert"):
        raise UserError(
            "config.task: masked-LM training needs word embeddings of the model's own, which one "
            "on a BERT has not; leave config.bert.name unset."
        )
    _check_complete(settings.model.name, architecture, fields)
    try:
        return architecture(**fields)
    except pydantic.ValidationError as error:
        raise UserError(f"config.model: {reason_of(error)}.") from error


def _check_architecture(
    settings: TextConfig, start: EncoderSpec, wanted: type[EncoderSpec]
) -> None:
    """Rejects weights that do not fit the architecture or are set in the wrong field.

    Raises:
        UserError: the weights do not fit; names the field.
    """
    is_bert = isinstance(start, BertEncoderSpec)
    if settings.bert.weights and not is_bert:
        raise UserError(
            f"config.bert.weights: {settings.bert.weights} is no BERT; config.init.weights takes "
            "it."
        )
    if not isinstance(start, wanted) and not (is_bert and settings.bert.name):
        hint = (
            " A gMLP is fed with a BERT's states by config.bert.weights and config.bert.name=bert."
        )
        raise UserError(
            f"config.init.weights: {settings.init.weights} has the weights of a "
            f"{start.architecture}, config.model.name={settings.model.name} is a "
            f"{wanted.architecture}.{hint if is_bert else ''}"
        )


def _on_bert(
    settings: TextConfig, start: EncoderSpec | None, fields: dict[str, Any]
) -> dict[str, Any]:
    """Returns the fields of a gMLP that describe the BERT below it.

    Raises:
        UserError: its size is unknown, it has too few blocks for the features, or the gMLP reads
          longer sequences.
    """
    _, named = find_model(settings.bert.name)
    there = start.bert if isinstance(start, GmlpEncoderSpec) else start
    sizes = (fields_of(there) if there else {}) | named | dict(vocab_size=fields["vocab_size"])
    if "hidden_dim" not in sizes:
        raise UserError(
            "config.bert.name: 'bert' is of the size of its weights; name them with "
            "config.bert.weights, or a size such as bert_base."
        )
    bert = BertEncoderSpec(**sizes)
    needed = BLOCKS_FOR_FEATURES[settings.bert.features]
    if bert.num_blocks < needed:
        raise UserError(
            f"config.bert.features: {settings.bert.features} needs a BERT of {needed} or more "
            f"blocks, and this one has {bert.num_blocks}; choose last."
        )
    if fields.get("max_length", 0) > bert.max_length:
        raise UserError(
            f"config.data.max_length: {fields['max_length']} tokens are more than the "
            f"{bert.max_length} that the BERT has positions for."
        )
    # BERT features of pads are not zero, so pads are masked unless a field or the weights disable
    # it.
    mask_pads = fields.get("mask_pads", True)
    return dict(bert=bert, bert_features=settings.bert.features, mask_pads=mask_pads)


def _check_complete(name: str, architecture: type[EncoderSpec], fields: dict[str, Any]) -> None:
    missing = [
        "config.data.max_length" if field.name == "max_length" else f"config.model.{field.name}"
        for field in dataclasses.fields(architecture)
        if field.default is dataclasses.MISSING and field.name not in fields
    ]
    if missing:
        raise UserError(f"the model {name!r} needs {', '.join(missing)}.")


def _fields_set(settings: TextConfig, architecture: type[EncoderSpec]) -> dict[str, Any]:
    """Returns the model fields set by the configuration."""
    own = MODEL_FIELDS & _field_names(architecture)
    given = {name: getattr(settings.model, name) for name in own}
    given["max_length"] = settings.data.max_length
    return {name: value for name, value in given.items() if value is not None}


def _field_names(architecture: type[EncoderSpec]) -> set[str]:
    return {field.name for field in dataclasses.fields(architecture)}
