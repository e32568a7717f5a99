"""The `tokenizers` library and files that are not what they seem.

It is written in Rust, and takes on trust what a tokenizer says. What would make it take all memory,
which ends the process, is found here before it reads a file; what makes it panic comes as an
exception that is no `Exception`, which is made one.
"""

import base64
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mlp_core.process.files import parse_json

LENGTH = struct.Struct("<I")
RUST_PANICS = "pyo3_runtime"  # The module that such exceptions say they are from; there is none.
LONGEST_INSERTION = 1000  # Characters that a rule puts into a text.
LONGEST_WORD = 1000  # Characters of a word that WordPiece splits, which takes their square in time.
LONGEST_PIECE = 1000  # Characters; vocabularies have pieces of 16, or of 100 for runs of spaces.
# What a model puts before or behind each part of a word before it looks it up.
SURROUNDINGS = ("continuing_subword_prefix", "end_of_word_suffix", "unk_token")
MOST_GROWTH = 1000  # Times that all rules together may make a text longer.


@contextmanager
def faults_as_value_errors() -> Iterator[None]:
    """Makes what the library raises, panics too, a ValueError."""
    try:
        yield
    except Exception as error:  # It raises no other.
        raise ValueError(str(error)) from error
    except BaseException as error:
        if not is_panic(error):
            raise
        raise ValueError(f"the tokenizers library fails on it: {error}") from error


def is_panic(error: BaseException) -> bool:
    """Whether an exception is a panic of Rust's."""
    return type(error).__module__ == RUST_PANICS


def check_character_rules(data: bytes) -> None:
    """Refuses SentencePiece's compiled rules for characters if they are damaged or blow up a text.

    The length in bytes of an array comes first, little endian. What characters are replaced by
    comes behind it, each ended by a zero byte.

    Raises:
        ValueError: the array is cut short, or a character is replaced by a very long text.
    """
    size = LENGTH.unpack(data[: LENGTH.size])[0] if len(data) >= LENGTH.size else 0
    if size == 0 or size % 4 or size > len(data) - LENGTH.size:
        raise ValueError("rules for characters that are cut short")
    longest = max(map(len, data[LENGTH.size + size :].split(b"\0")))
    if longest > LONGEST_INSERTION:
        raise ValueError(f"a rule replaces a character by {longest:,} bytes")


def check_tokenizer_json(text: str) -> None:
    """Refuses a tokenizer.json that takes far more time or memory than its text, or is damaged.

    Raises:
        ValueError: it does, or is no JSON.
    """
    growth = 1
    for part in _objects(parse_json(text)):
        _check_sizes(part)
        if part.get("dropout"):
            raise ValueError(
                f"dropout is {part['dropout']!r:.20}, which splits a text differently each time; "
                "set it to null"
            )
        if part.get("type") == "Precompiled":
            check_character_rules(base64.b64decode(str(part.get("precompiled_charsmap"))))
        for key in ("content", "prepend"):
            inserted = part.get(key) if part.get("type") in ("Replace", "Prepend") else None
            if not isinstance(inserted, str):
                continue
            if len(inserted) > LONGEST_INSERTION:
                raise ValueError(
                    f"a rule puts {len(inserted):,} characters into a text, more than "
                    f"{LONGEST_INSERTION:,}"
                )
            growth *= max(len(inserted), 1)
    if growth > MOST_GROWTH:
        raise ValueError(f"its rules make a text more than {MOST_GROWTH:,} times longer")


def _check_sizes(part: dict[str, Any]) -> None:
    """Refuses a part of a tokenizer that takes far more time for a long word than for short ones.

    Raises:
        ValueError: names the field.
    """
    longest_word = part.get("max_input_chars_per_word")
    if isinstance(longest_word, int | float) and longest_word > LONGEST_WORD:
        raise ValueError(
            f"max_input_chars_per_word is {longest_word:,}; words of more than {LONGEST_WORD:,} "
            "characters take too long"
        )
    unigrams = part.get("vocab")  # Pairs of a piece and its score; other models have an object.
    pieces = (
        [pair[0] for pair in unigrams if isinstance(pair, list) and pair]
        if isinstance(unigrams, list)
        else []
    )
    for piece in (*pieces, *(part.get(key) for key in SURROUNDINGS)):
        if isinstance(piece, str) and len(piece) > LONGEST_PIECE:
            raise ValueError(f"a piece of {len(piece):,} characters, more than {LONGEST_PIECE:,}")


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """All JSON objects inside `value`, but for vocabularies, which are large."""
    if isinstance(value, dict):
        yield value
        for key, inner in value.items():
            if key not in ("vocab", "merges"):
                yield from _objects(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _objects(inner)
