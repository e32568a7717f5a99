"""Converts SentencePiece models (unigram, BPE) to tokenizers of the `tokenizers` library.

The format is a protocol buffer of pieces with scores and normalization rules. Ids match the
SentencePiece library except for

- names of special tokens in a text, which are parsed as these tokens;
- equally likely splits of a word in a unigram model (hu-mm-m, hu-m-mm), where rounding decides;
  they are more frequent in small vocabularies: one text in a hundred with a thousand pieces;
- leading spaces, if the model keeps them or adds none itself;
- characters with several accents.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tokenizers
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers

from mlp_core.errors import UserError
from mlp_core.process.files import read_bytes
from mlp_text.tokens.special_tokens import NAMES
from mlp_text.tokens.tokenizers_library import check_character_rules, faults_as_value_errors

PACKAGE = "all_mlp_sentencepiece"
LONGEST_PIECE = 1000  # Characters; SentencePiece's default is 16.
MOST_CHARACTERS = 10_000_000  # In all pieces; 250,000 pieces have about two million.
# Message: field: number, type, default.
MESSAGES = {
    "Piece": {
        "piece": (1, "string", None),
        "score": (2, "float", None),
        "type": (3, "int32", "1"),
    },
    "Trainer": {
        "model_type": (3, "int32", "1"),
        "treat_whitespace_as_suffix": (24, "bool", None),
        "byte_fallback": (35, "bool", None),
        "unk_id": (40, "int32", None),
    },
    "Normalizer": {
        "precompiled_charsmap": (2, "bytes", None),
        "add_dummy_prefix": (3, "bool", "true"),
        "remove_extra_whitespaces": (4, "bool", "true"),
    },
    "Model": {
        "pieces": (1, "repeated Piece", None),
        "trainer_spec": (2, "Trainer", None),
        "normalizer_spec": (3, "Normalizer", None),
    },
}
SPACE = "\u2581"  # Marks a space: pieces starting with it start a word.
UNIGRAM, BPE = 1, 2  # `TrainerSpec.ModelType`.
CONTROL, USER_DEFINED = 3, 4  # `SentencePiece.Type`.


def parse_model(data: bytes) -> Message:
    """Reads a model: its `pieces`, `trainer_spec` and `normalizer_spec`.

    Raises:
        ValueError: it is corrupt or not a SentencePiece model.
    """
    try:
        model = _message_class("Model").FromString(data)
    except DecodeError as error:
        raise ValueError(str(error)) from error
    if not model.pieces:
        raise ValueError("it holds no pieces")
    for number, entry in enumerate(model.pieces):
        if not isinstance(entry.piece, str) or len(entry.piece) > LONGEST_PIECE:
            raise ValueError(f"piece {number:,} is no text of up to {LONGEST_PIECE:,} characters")
    characters = sum(len(entry.piece) for entry in model.pieces)
    if characters > MOST_CHARACTERS:
        raise ValueError(f"its pieces have {characters:,} characters, more than any model's")
    if not 0 <= model.trainer_spec.unk_id < len(model.pieces):
        raise ValueError(f"its piece for unknown text is number {model.trainer_spec.unk_id:,}")
    return model


def _message_class(name: str) -> type[Message]:
    Field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{PACKAGE}.proto", package=PACKAGE, syntax="proto2"
    )
    for message_name, fields in MESSAGES.items():
        message = file.message_type.add(name=message_name)
        for field_name, (number, kind, default) in fields.items():
            repeated, _, kind = kind.rpartition(" ")
            label = Field.LABEL_REPEATED if repeated else Field.LABEL_OPTIONAL
            field = message.field.add(name=field_name, number=number, label=label)
            if kind in MESSAGES:
                field.type, field.type_name = Field.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
            else:
                field.type = Field.Type.Value(f"TYPE_{kind.upper()}")
            if default is not None:
                field.default_value = default
    # A separate pool avoids name collisions with other loaded protocol buffers.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))


def read_sentencepiece(path: Path) -> tokenizers.Tokenizer:
    """Reads a SentencePiece .model.

    Raises:
        UserError: it is corrupt, not a SentencePiece model, or neither unigram nor BPE.
    """
    try:
        model = read_bytes(path)
    except ValueError as error:
        raise UserError(f"{path}: no SentencePiece model: it is {error}.") from error
    return sentencepiece_tokenizer(model, path)


def sentencepiece_tokenizer(model: bytes, origin: Path | str) -> tokenizers.Tokenizer:
    """Converts a serialised SentencePiece model; errors name `origin`.

    Raises:
        UserError: it is corrupt, not a SentencePiece model, or neither unigram nor BPE.
    """
    try:
        proto = parse_model(model)
    except ValueError as error:
        raise UserError(f"{origin}: no SentencePiece model, or a damaged one ({error}).") from error
    rules = proto.normalizer_spec
    if proto.trainer_spec.treat_whitespace_as_suffix:
        raise UserError(f"{origin}: marks spaces at the ends of words; this is not supported.")
    try:
        with faults_as_value_errors():
            backend = tokenizers.Tokenizer(_model(proto, origin))
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{origin}: a damaged SentencePiece model ({error}).") from error
    backend.normalizer = _normalizer(rules, origin)
    metaspace = {
        "replacement": SPACE,
        "prepend_scheme": "first" if rules.add_dummy_prefix else "never",
        # If no piece crosses a word boundary, tokenizing word by word is faster.
        "split": not any(SPACE in piece.piece[1:] for piece in proto.pieces),
    }
    backend.pre_tokenizer = pre_tokenizers.Metaspace(**metaspace)
    backend.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(**metaspace)])
    control = [piece.piece for piece in proto.pieces if piece.type == CONTROL]
    user_defined = [piece.piece for piece in proto.pieces if piece.type == USER_DEFINED]
    masks = NAMES["mask"]
    backend.add_special_tokens(
        [AddedToken(name, normalized=False, lstrip=name in masks) for name in control]
    )
    backend.add_tokens(
        [AddedToken(name, normalized=False, lstrip=name in masks) for name in user_defined]
    )
    return backend


def _model(proto: Message, origin: Path | str) -> models.Model:
    # Scores are float32; their shortest decimal form survives JSON unchanged.
    pieces = [(piece.piece, float(str(np.float32(piece.score)))) for piece in proto.pieces]
    settings = proto.trainer_spec
    if settings.model_type == UNIGRAM:
        return models.Unigram(pieces, settings.unk_id, settings.byte_fallback)
    if settings.model_type == BPE:
        return models.BPE(
            {piece: i for i, (piece, _) in enumerate(pieces)},
            _merges(pieces),
            unk_token=pieces[settings.unk_id][0],
            fuse_unk=True,
            byte_fallback=settings.byte_fallback,
        )
    raise UserError(
        f"{origin}: a SentencePiece model of words or characters; unigram and BPE can be used."
    )


def _merges(pieces: Sequence[tuple[str, float]]) -> list[tuple[str, str]]:
    """Returns all pairs of pieces that merge into a piece, best piece first.

    SentencePiece stores no merges: it joins the neighbours that form the highest-scoring piece.
    """
    ids = {piece: i for i, (piece, _) in enumerate(pieces)}
    merges = []
    for piece, _ in sorted(pieces, key=lambda entry: -entry[1]):
        splits = [(piece[:cut], piece[cut:]) for cut in range(1, len(piece))]
        made = [(left, right) for left, right in splits if left in ids and right in ids]
        merges += sorted(made, key=lambda split: (ids[split[0]], ids[split[1]]))
    return merges


def _normalizer(rules: Message, origin: Path | str) -> normalizers.Normalizer:
    steps = []
    if rules.precompiled_charsmap:
        try:
            check_character_rules(rules.precompiled_charsmap)
            with faults_as_value_errors():
                steps.append(normalizers.Precompiled(rules.precompiled_charsmap))
        except ValueError as error:
            raise UserError(
                f"{origin}: a damaged SentencePiece model: its rules for characters cannot be "
                f"read ({error})."
            ) from error
    if rules.remove_extra_whitespaces:
        # A leading space is the one that starts the first word anyway.
        steps += [normalizers.Strip(left=False), normalizers.Replace(Regex(" {2,}"), " ")]
    return normalizers.Sequence(steps)
