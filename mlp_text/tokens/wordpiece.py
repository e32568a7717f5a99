"""BERT's WordPiece: the published vocabulary, one piece per line, and BERT's text splitting."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers

from mlp_core.errors import UserError
from mlp_core.process.console import say
from mlp_core.process.files import read_bytes, read_json
from mlp_text.tokens.special_tokens import SPECIAL_TOKENS

VOCABULARY_FILE = "vocab.txt"  # The published name.
CASING_FILE = "tokenizer_config.json"  # Next to the vocabulary.
MOST_LINES = 10_000_000  # Above any real vocabulary.
SETTINGS = ("do_lower_case", "strip_accents", "tokenize_chinese_chars")
# Options that split text into words, or words into pieces, differently from BERT.
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
    """Returns BERT's tokenizer: splits at spaces, punctuation and CJK, then into pieces.

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

    If `lowercase` is None, a tokenizer_config.json next to it decides, else the vocabulary: text is
    lowercased if it has no capitals.

    Raises:
        UserError: the file cannot be read, is not a vocabulary, or lacks a BERT special token.
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
    """Applies a tokenizer_config.json in `folder` to BERT's text rules, as Hugging Face does.

    Raises:
        UserError: the file is corrupt or has unsupported settings.
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
        text = read_bytes(path).decode("utf-8-sig")  # Some editors prepend a byte-order mark.
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: no vocabulary: it is not text ({error}); {what}.") from error
    except ValueError as error:
        raise UserError(f"{path}: no vocabulary: it is {error}; {what}.") from error
    if "\0" in text:
        raise UserError(f"{path}: no vocabulary: it holds zero bytes; {what}.")
    if text.count("\n") > MOST_LINES:
        raise UserError(f"{path}: no vocabulary: it has more than {MOST_LINES:,} lines; {what}.")
    # Pieces may be rare characters that splitlines() treats as line ends.
    lines = [line.removesuffix("\r") for line in text.rstrip("\r\n").split("\n")]
    # Of duplicate lines the last one counts, as in Hugging Face tokenizers; the ids of the others
    # stay unused.
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
