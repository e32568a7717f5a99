"""Guards the `tokenizers` library against corrupt or malicious files.

The library is written in Rust and trusts its input. Files that would exhaust memory and kill the
process are rejected before it reads them; its panics, which are not an `Exception`, are converted.
"""

import base64
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mlp_core.process.files import parse_json

LENGTH = struct.Struct("<I")
RUST_PANICS = "pyo3_runtime"  # Nominal module of panics; it cannot be imported.
LONGEST_INSERTION = 1000  # Characters that a rule inserts into a text.
LONGEST_WORD = 1000  # Characters; WordPiece takes quadratic time.
LONGEST_PIECE = 1000  # Characters; real pieces have 16, or 100 in runs of spaces.
# Strings that a model adds to each part of a word before lookup.
SURROUNDINGS = ("continuing_subword_prefix", "end_of_word_suffix", "unk_token")
MOST_GROWTH = 1000  # Factor by which all rules together may lengthen a text.


@contextmanager
def faults_as_value_errors() -> Iterator[None]:
    """Converts the library's exceptions, including panics, to ValueError."""
    try:
        yield
    except Exception as error:  # The library raises only plain `Exception`.
        raise ValueError(str(error)) from error
    except BaseException as error:
        if not is_panic(error):
            raise
        raise ValueError(f"the tokenizers library fails on it: {error}") from error


def is_panic(error: BaseException) -> bool:
    """Returns whether an exception is a Rust panic."""
    return type(error).__module__ == RUST_PANICS


def check_character_rules(data: bytes) -> None:
    """Rejects compiled SentencePiece character rules that are corrupt or blow up a text.

    They start with the little-endian byte length of an array. The replacements of characters follow
    the array, each zero-terminated.

    Raises:
        ValueError: the array is truncated, or a character has a very long replacement.
    """
    size = LENGTH.unpack(data[: LENGTH.size])[0] if len(data) >= LENGTH.size else 0
    if size == 0 or size % 4 or size > len(data) - LENGTH.size:
        raise ValueError("rules for characters that are cut short")
    longest = max(map(len, data[LENGTH.size + size :].split(b"\0")))
    if longest > LONGEST_INSERTION:
        raise ValueError(f"a rule replaces a character by {longest:,} bytes")


def check_tokenizer_json(text: str) -> None:
    """Rejects a tokenizer.json that is corrupt, or takes far more time or memory than its text.

    Raises:
        ValueError: it takes too much, or is not JSON.
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
    """Rejects a part of a tokenizer that takes far more time for long words than for short ones.

    Raises:
        ValueError: a field is too large; names it.
    """
    longest_word = part.get("max_input_chars_per_word")
    if isinstance(longest_word, int | float) and longest_word > LONGEST_WORD:
        raise ValueError(
            f"max_input_chars_per_word is {longest_word:,}; words of more than {LONGEST_WORD:,} "
            "characters take too long"
        )
    unigrams = part.get("vocab")  # Pairs of piece and score; other models use an object.
    pieces = (
        [pair[0] for pair in unigrams if isinstance(pair, list) and pair]
        if isinstance(unigrams, list)
        else []
    )
    for piece in (*pieces, *(part.get(key) for key in SURROUNDINGS)):
        if isinstance(piece, str) and len(piece) > LONGEST_PIECE:
            raise ValueError(f"a piece of {len(piece):,} characters, more than {LONGEST_PIECE:,}")


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yields all JSON objects in `value` except vocabularies, which are large."""
    if isinstance(value, dict):
        yield value
        for key, inner in value.items():
            if key not in ("vocab", "merges"):
                yield from _objects(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _objects(inner)
