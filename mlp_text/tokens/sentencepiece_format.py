"""The SentencePiece model file: a protocol buffer, of which this declares what is used here.

The SentencePiece package brings generated code for the whole of it, which refuses to be imported
beside a protobuf older than its own; TensorFlow, for one, may want an older one. Names and numbers
of the fields are those of `sentencepiece_model.proto`; enumerations are read as numbers.
"""

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

PACKAGE = "all_mlp_sentencepiece"
LONGEST_PIECE = 1000  # Characters; SentencePiece makes pieces of 16.
MOST_CHARACTERS = 10_000_000  # Of all pieces; a quarter of a million pieces have some two million.
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


def parse_model(data: bytes) -> Message:
    """Reads a model: its `pieces`, `trainer_spec` and `normalizer_spec`.

    Raises:
        ValueError: it is damaged, or something else.
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
    # A pool of its own: whatever else the process has loaded, names cannot collide.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
