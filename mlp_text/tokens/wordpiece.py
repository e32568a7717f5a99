"""BERT's WordPiece: the vocabulary as published, a piece a line, and BERT's splitting of text."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers

from mlp_core.errors import UserError
from mlp_core.process.console import say
from mlp_core.process.files import read_bytes, read_json
from mlp_text.tokens.special_tokens import SPECIAL_TOKENS

VOCABULARY_FILE = "vocab.txt"  # As it is published,
CASING_FILE = "tokenizer_config.json"  # and beside it.
MOST_LINES = 10_000_000  # No vocabulary has as many.
SETTINGS = ("do_lower_case", "strip_accents", "tokenize_chinese_chars")
# Other ways to split a text into words, or these into pieces, than BERT's.
UNSUPPORTED = {
    "do_basic_tokenize": (None, True),
    "word_tokenizer_type": (None, "basic"),
    "subword_tokenizer_type": (None, "wordpiece"),
}


def wordpiece(
    vocabulary: Mapping[str, int],
    lowercase: bool,
    strip_accents: bool | None = None,
    split_chinese: bool = True,
) -> tokenizers.Tokenizer:
    """Splits text as BERT does: at spaces, punctuation and CJK characters, then into pieces.

    `strip_accents` None follows `lowercase`, as in BERT.
    """
    backend = tokenizers.Tokenizer(models.WordPiece(dict(vocabulary), unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(
        lowercase=lowercase, strip_accents=strip_accents, handle_chinese_chars=split_chinese
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    return backend


def read_wordpiece(path: Path, lowercase: bool | None = None) -> tokenizers.Tokenizer:
    """Reads a published vocab.txt.

    Whether text is lowercased, where `lowercase` leaves it open, a tokenizer_config.json beside
    it says, else the vocabulary itself: one without capitals is of lowercased text.

    Raises:
        UserError: the file cannot be read, is no vocabulary, or lacks a special token of BERT's.
    """
    vocabulary = _vocabulary(path)
    settings = _settings(path.parent / CASING_FILE)
    if lowercase is None:
        lowercase = settings.get("do_lower_case")
    if lowercase is None:
        lowercase = not _has_capitals(vocabulary)
    split_chinese = settings.get("tokenize_chinese_chars") is not False
    return wordpiece(vocabulary, lowercase, settings.get("strip_accents"), split_chinese)


def apply_settings(backend: tokenizers.Tokenizer, folder: Path) -> None:
    """Applies a tokenizer_config.json in `folder` to BERT's rules for text, as Hugging Face does.

    Raises:
        UserError: the file is damaged, or asks for something that is not supported.
    """
    rules = backend.normalizer
    if not isinstance(rules, normalizers.BertNormalizer):
        return
    settings = _settings(folder / CASING_FILE)
    there = (rules.lowercase, rules.strip_accents, rules.handle_chinese_chars)
    lowercase, strip_accents, split_chinese = (
        old if settings.get(name) is None else settings[name]
        for name, old in zip(SETTINGS, there, strict=True)
    )
    if (lowercase, strip_accents, split_chinese) != there:
        say(f"Note: {folder / CASING_FILE} changes the rules of the tokenizer beside it.")
        backend.normalizer = normalizers.BertNormalizer(
            clean_text=rules.clean_text,
            handle_chinese_chars=split_chinese,
            strip_accents=strip_accents,
            lowercase=lowercase,
        )


def _vocabulary(path: Path) -> dict[str, int]:
    what = "a vocabulary is a text file in UTF-8 with one piece a line"
    try:
        text = read_bytes(path).decode("utf-8-sig")  # Some editors put a mark in front.
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: no vocabulary: it is not text ({error}); {what}.") from error
    except ValueError as error:
        raise UserError(f"{path}: no vocabulary: it is {error}; {what}.") from error
    if "\0" in text:
        raise UserError(f"{path}: no vocabulary: it holds zero bytes; {what}.")
    if text.count("\n") > MOST_LINES:
        raise UserError(f"{path}: no vocabulary: it has more than {MOST_LINES:,} lines; {what}.")
    # Not splitlines(): pieces may be the rarer characters that this takes for ends of lines.
    lines = [line.removesuffix("\r") for line in text.rstrip("\r\n").split("\n")]
    # Of lines that are the same the last one counts, as in Hugging Face's tokenizers; the others
    # keep their ids, which no text gets.
    vocabulary = {piece: number for number, piece in enumerate(lines)}
    missing = [token for token in SPECIAL_TOKENS if token not in vocabulary]
    if missing:
        raise UserError(
            f"{path}: lacks {', '.join(missing)} of its {len(SPECIAL_TOKENS)} special tokens; "
            "is it a WordPiece vocabulary, as BERT's vocab.txt?"
        )
    if repeated := len(lines) - len(vocabulary):
        say(f"Note: {path}: {repeated:,} lines are repeated further down, where they count.")
    return vocabulary


def _settings(path: Path) -> dict:
    if not path.is_file():
        return {}
    try:
        settings = read_json(path)
        known = {name: settings.get(name) for name in SETTINGS}
        other = {name: settings[name] for name in UNSUPPORTED if name in settings}
        for name, value in known.items():
            if not isinstance(value, bool | None):
                raise ValueError(f"{name} is {value!r:.60}, neither true nor false")
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(
            f"{path}: damaged ({error}); mend it, or take it away and say with `lowercase` what "
            "text the vocabulary is for."
        ) from error
    for name, value in other.items():
        if value not in UNSUPPORTED[name]:
            raise UserError(
                f"{path}: {name} is {value!r:.60}, which is not supported; only BERT's own way to "
                "split text is."
            )
    return known


def _has_capitals(pieces: Iterable[str]) -> bool:
    ordinary = (piece for piece in pieces if not (piece.startswith("[") and piece.endswith("]")))
    return any(piece != piece.lower() for piece in ordinary)
