"""The model that a configuration asks for.

A field that is set holds, then what the model's name settles, then the weights that a run starts
from; one that is still open has a default.
"""

import dataclasses
import math
from typing import Any

from mlp_core.errors import UserError
from mlp_text.config import TextConfig
from mlp_text.model_spec import BertEncoderSpec, EncoderSpec, GmlpEncoderSpec
from mlp_text.models import find_model


def wanted_encoder(settings: TextConfig, start: EncoderSpec | None, vocab_size: int) -> EncoderSpec:
    """The encoder of a run that starts from weights of `start`, or at random.

    Args:
      settings: the experiment.
      start: the encoder of the weights to start from, which may be the BERT below a gMLP only.
      vocab_size: of the tokenizer.

    Raises:
        UserError: there is no such model, or a field is missing or of another architecture.
    """
    name = settings.model.name
    architecture, named = find_model(name)
    own = {field.name: field.default for field in dataclasses.fields(architecture)}
    given = dataclasses.asdict(settings.model) | dict(max_length=settings.data.max_length)
    fields = {field: value for field, value in given.items() if value is not None}
    for field in sorted(MODEL_FIELDS & fields.keys() - own.keys()):
        raise UserError(
            f"config.model.{field}: {name!r} has no such field; it has "
            f"{', '.join(sorted(MODEL_FIELDS & own.keys()))}."
        )
    theirs = _fields_of(start) if isinstance(start, architecture) else {}
    fields = theirs | named | {field: fields[field] for field in own if field in fields}
    fields["vocab_size"] = vocab_size
    if settings.bert.name:
        fields |= _on_bert(settings, architecture, start, fields)
    missing = [
        n for n, default in own.items() if default is dataclasses.MISSING and n not in fields
    ]
    if missing:
        places = {"max_length": "config.data.max_length"}
        names = ", ".join(places.get(field, f"config.model.{field}") for field in missing)
        raise UserError(f"the model {name!r} needs {names}.")
    try:
        return architecture(**fields)
    except ValueError as error:
        raise UserError(f"config.model: {error.errors()[0]['msg'].split(', ', 1)[-1]}.") from error


def _on_bert(
    settings: TextConfig,
    architecture: type[EncoderSpec],
    start: EncoderSpec | None,
    fields: dict[str, Any],
) -> dict[str, Any]:
    """What a BERT below adds to the fields of a gMLP.

    Raises:
        UserError: there is no such BERT, or it does not go with the model.
    """
    bert_architecture, named = find_model(settings.bert.name)
    if bert_architecture is not BertEncoderSpec:
        raise UserError(f"config.bert.name: {settings.bert.name!r} is no BERT.")
    if architecture is not GmlpEncoderSpec:
        raise UserError(
            f"config.bert.name: {settings.model.name!r} cannot be fed with a BERT's states; choose "
            "gmlp, tmlp or amlp."
        )
    theirs = _fields_of(start) if isinstance(start, BertEncoderSpec) else {}
    sizes = theirs | named | dict(vocab_size=fields["vocab_size"])
    if "hidden_dim" not in sizes:
        raise UserError(
            "config.bert.name: 'bert' is of the size of its weights; name them with "
            "config.bert.weights, or a size such as bert_base."
        )
    bert = BertEncoderSpec(**sizes)
    if fields.get("max_length", 0) > bert.max_length:
        raise UserError(
            f"config.data.max_length: {fields['max_length']} tokens are more than the "
            f"{bert.max_length} that the BERT has positions for."
        )
    # What a BERT makes of pads is no padding, so that they are masked unless a field says not to.
    pads = dict(mask_pads=fields.get("mask_pads", True))
    return pads | dict(bert=bert, bert_features=settings.bert.features)


def slots(settings: TextConfig, max_length: int) -> int:
    """Places of a sequence for tokens to guess: as configured, or as many as its rate needs."""
    return settings.masking.slots or math.ceil(settings.masking.rate * max_length)


def differences(start: EncoderSpec, wanted: EncoderSpec) -> list[str]:
    """The fields in which weights of `start` do not fit `wanted`, as "hidden_dim=512".

    A Toeplitz vector can be made longer, shorter or into a full matrix, a full matrix shorter; a
    BERT's positions may be more than are used; an embedding of segments may be new.
    """
    if type(start) is not type(wanted):
        return [f"a {wanted.architecture} in place of its {start.architecture}"]
    theirs, ours = _fields_of(start), _fields_of(wanted)
    flexible = {"segments", "mask_pads", "bert_features", *NUMERICS}
    toeplitz = theirs.get("spatial_matrix") == "toeplitz"
    if toeplitz:
        flexible.add("spatial_matrix")
    if toeplitz or ours["max_length"] < theirs["max_length"]:
        flexible.add("max_length")
    return [
        f"{name}={theirs[name]}"
        for name in ours
        if name not in flexible and ours[name] != theirs[name]
    ]


def _fields_of(spec: EncoderSpec) -> dict[str, Any]:
    return {field.name: getattr(spec, field.name) for field in dataclasses.fields(spec)}


NUMERICS = ("gelu", "layer_norm_epsilon", "gate_layer_norm_epsilon")
# What some architecture has, in the configuration's group `model`.
MODEL_FIELDS = {
    field.name
    for architecture in (GmlpEncoderSpec, BertEncoderSpec)
    for field in dataclasses.fields(architecture)
} - {"architecture", "vocab_size", "max_length", "bert", "bert_features", "num_segments"}
