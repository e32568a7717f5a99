"""Conversion of text to token ids and back.

Shapes: B texts, S tokens, V pieces in the vocabulary.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import tokenizers
from tokenizers import models, normalizers

from mlp_core.errors import UserError
from mlp_core.process.console import say
from mlp_core.process.files import read_text
from mlp_text.tokens.sentencepiece_model import read_sentencepiece
from mlp_text.tokens.special_tokens import complete_special_tokens, find_special_tokens
from mlp_text.tokens.tokenizers_library import (
    check_tokenizer_json,
    faults_as_value_errors,
    is_panic,
)
from mlp_text.tokens.wordpiece import VOCABULARY_FILE, apply_settings, read_wordpiece

TOKENIZER_FILE = "tokenizer.json"  # In runs and on the Hugging Face hub.
FILES = (TOKENIZER_FILE, VOCABULARY_FILE, "spiece.model")  # Looked up in a directory.
UNKNOWN = "\U0010fffd"  # A private-use character, absent from texts.
MOST_PIECES = 10_000_000  # Above any real vocabulary.
LONGEST_TEXT = 1 << 20  # Characters tokenised per text, more than any row needs.
BLOCK = 1024  # Texts per batch, tokenised on all cores.
WORD_STARTS = ("\u2581", "\u0120")  # Word marks of SentencePiece and byte-level BPE.


@dataclass(frozen=True, eq=False)
class Tokenizer:
    """Splits text into the pieces of a vocabulary.

    Names of special tokens in a text are parsed as these tokens, as in Hugging Face tokenizers:
    `[MASK]` is always a mask.
    """

    backend: tokenizers.Tokenizer

    @classmethod
    def from_backend(cls, backend: tokenizers.Tokenizer, origin: Path | str) -> "Tokenizer":
        """Wraps a library tokenizer, appending missing special tokens.

        Prints the appended tokens with `origin`, the source of the tokenizer.

        Raises:
            UserError: it fails on unknown text, or has invalid ids.
        """
        highest = max(backend.get_vocab().values(), default=0)
        if highest >= MOST_PIECES:
            raise UserError(
                f"{origin}: no vocabulary: a piece has the id {highest:,}; {MOST_PIECES:,} pieces "
                "are more than any has."
            )
        backend.no_truncation()
        backend.no_padding()
        appended = complete_special_tokens(backend)
        if appended:
            say(f"Note: {origin}: {', '.join(appended)} appended to the vocabulary.")
        try:
            with faults_as_value_errors():
                backend.encode(UNKNOWN)
        except ValueError as error:
            raise UserError(
                f"{origin}: this vocabulary has no piece for unknown text, which its model needs "
                f"({error}); name another."
            ) from error
        return cls(backend)

    @classmethod
    def from_json(cls, text: str, origin: Path | str = TOKENIZER_FILE) -> "Tokenizer":
        """Reads JSON from `to_json` or Hugging Face tokenizers; errors name `origin`.

        Raises:
            UserError: it is corrupt or not a tokenizer.
        """
        try:
            check_tokenizer_json(text)
            with faults_as_value_errors():
                backend = tokenizers.Tokenizer.from_str(text)
        except ValueError as error:
            raise UserError(f"{origin}: no tokenizer, or a damaged one ({error}).") from error
        return cls.from_backend(backend, origin)

    def to_json(self) -> str:
        """Returns the whole tokenizer in the format of Hugging Face tokenizers."""
        return self.backend.to_str()

    def __eq__(self, other: object) -> bool:
        """Returns whether both tokenise every text alike."""
        return isinstance(other, Tokenizer) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        """Returns a hash consistent with equality."""
        return hash(self.to_json())

    @cached_property
    def vocab_size(self) -> int:
        """Highest id plus one: number of embedding rows."""
        return max(self.backend.get_vocab().values()) + 1

    @cached_property
    def pad_id(self) -> int:
        """Id that pads a row after its text."""
        return self._special_id("pad")

    @cached_property
    def unk_id(self) -> int:
        """Id for text outside the vocabulary."""
        return self._special_id("unk")

    @cached_property
    def cls_id(self) -> int:
        """Id that starts a row."""
        return self._special_id("cls")

    @cached_property
    def sep_id(self) -> int:
        """Id that ends a text."""
        return self._special_id("sep")

    @cached_property
    def mask_id(self) -> int:
        """Id that hides a token to predict."""
        return self._special_id("mask")

    @cached_property
    def special_ids(self) -> tuple[int, ...]:
        """The five ids above, other special tokens of the vocabulary, and ids without a piece."""
        added = self.backend.get_added_tokens_decoder().items()
        needed = {self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id}
        unused = set(range(self.vocab_size)) - set(self.backend.get_vocab().values())
        return tuple(sorted(needed | unused | {i for i, token in added if token.special}))

    @cached_property
    def continuation(self) -> np.ndarray:
        """Whether a piece continues a word, bool [V]; False for special tokens.

        In WordPiece these are pieces such as `##ing`; in other vocabularies, pieces without the
        mark of a word start, if the vocabulary uses one.
        """
        continues = np.zeros(self.vocab_size, bool)
        pieces, model = self.backend.get_vocab(), self.backend.model
        if isinstance(model, models.WordPiece):
            mark = model.continuing_subword_prefix
            continues[[i for piece, i in pieces.items() if piece.startswith(mark)]] = True
        else:
            # A vocabulary's mark is the one that more pieces start with.
            counts = {mark: sum(p.startswith(mark) for p in pieces) for mark in WORD_STARTS}
            mark = max(counts, key=counts.get)
            if counts[mark]:
                continues[[i for piece, i in pieces.items() if not piece.startswith(mark)]] = True
        continues[list(self.special_ids)] = False
        return continues

    def encode(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        max_length: int = 128,
    ) -> dict[str, np.ndarray]:
        """Encodes `[CLS] text [SEP]` or `[CLS] text [SEP] pair [SEP]` in `max_length` tokens.

        Long texts are truncated at the end; of a pair, the longer text first, down to the length of
        the other, then both equally, as in Hugging Face's `longest_first`. To bound memory, only
        the first `LONGEST_TEXT` characters of a text are tokenised.

        Args:
            texts: B texts.
            pairs: B second texts.
            max_length: S, special tokens included.

        Returns:
            `input_ids` int32 [B, S]; `attention_mask` uint8 [B, S], 0 at pads; `token_type_ids`
            uint8 [B, S], 1 in the second text and the [SEP] after it.

        Raises:
            UserError: there is no room for text between the special tokens, or a text is invalid.
        """
        num_special = 2 if pairs is None else 3
        room = max_length - num_special
        if room < 1:
            raise UserError(
                f"max_length={max_length} is too short: {num_special} of a row's tokens are "
                f"[CLS] and [SEP]; make it {num_special + 1} or more."
            )
        rows, columns = np.arange(len(texts)), np.arange(max_length)[None, :]
        ids = np.full((len(texts), max_length), self.pad_id, np.int32)
        ids[:, 0] = self.cls_id
        tokens, lengths = self._flat_ids(texts)
        if pairs is None:
            kept = np.minimum(lengths, room)
            last = kept + 1
        else:
            pair_tokens, pair_lengths = self._flat_ids(pairs)
            kept, pair_kept = _longest_first(lengths, pair_lengths, room)
            last = kept + pair_kept + 2
            _place(ids, pair_tokens, pair_lengths, pair_kept, first_column=kept + 2)
            ids[rows, last] = self.sep_id
        _place(ids, tokens, lengths, kept, first_column=np.ones_like(kept))
        ids[rows, kept + 1] = self.sep_id
        attention_mask = columns <= last[:, None]
        second = attention_mask & (columns > kept[:, None] + 1)
        return {
            "input_ids": ids,
            "attention_mask": attention_mask.astype(np.uint8),
            "token_type_ids": second.astype(np.uint8),
        }

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns all ids of each text, without [CLS] and [SEP].

        Raises:
            UserError: a text is invalid.
        """
        return [encoding.ids for block in self._encodings(texts) for encoding in block]

    def tokens(self, ids: Iterable[int]) -> list[str]:
        """Returns the pieces as written in the vocabulary."""
        return [self.backend.id_to_token(int(i)) for i in ids]

    def decode(self, ids: Iterable[int]) -> str:
        """Returns the decoded text, without special tokens."""
        return self.backend.decode([int(i) for i in ids])

    def _special_id(self, role: str) -> int:
        return self.backend.token_to_id(find_special_tokens(self.backend)[role])

    def _flat_ids(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        # A flat array of ids with the texts' lengths is far faster than an array per text.
        ids, lengths = [np.zeros(0, np.int32)], []
        for block in self._encodings(texts, LONGEST_TEXT):
            lengths += [len(encoding) for encoding in block]
            flat = itertools.chain.from_iterable(encoding.ids for encoding in block)
            ids.append(np.fromiter(flat, np.int32))
        return np.concatenate(ids), np.array(lengths, np.int64)

    def _encodings(
        self, texts: Sequence[str], longest: int | None = None
    ) -> Iterator[list[tokenizers.Encoding]]:
        for start in range(0, len(texts), BLOCK):
            block = texts[start : start + BLOCK]
            block = [text[:longest] if isinstance(text, str) else text for text in block]
            try:
                yield self.backend.encode_batch_fast(block, add_special_tokens=False)
            except TypeError as error:
                raise UserError(_not_text(block, start)) from error
            except BaseException as error:
                if not is_panic(error):
                    raise
                raise UserError(
                    f"the tokenizer fails on one of texts {start:,} to {start + len(block) - 1:,} "
                    f"({error}); name another vocabulary."
                ) from error


def open_tokenizer(path: str | Path, lowercase: bool | None = None) -> Tokenizer:
    """Opens a vocabulary of any supported format.

    Args:
        path: a tokenizer.json, a SentencePiece .model, a WordPiece vocab.txt under any other
            name, or a directory with one of these, tried in this order.
        lowercase: whether to lowercase text; None: as specified by the vocabulary's files. Needed
            only for a vocab.txt without capitals for cased text, and for a SentencePiece model
            that expects lowercased text.

    Raises:
        UserError: the file is missing, corrupt or not a vocabulary, or `lowercase` contradicts it.
    """
    path = Path(path)
    if path.is_dir():
        path = _file_in(path)
    try:
        tokenizer = _open_file(path, lowercase)
    except UserError:
        raise
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: no vocabulary can be read from there ({error}); name a tokenizer.json, a "
            "WordPiece vocab.txt or a SentencePiece .model."
        ) from error
    if lowercase not in (None, _lowercases(tokenizer)):
        does, asked = ("keeps capitals", "true") if lowercase else ("lowercases", "false")
        raise UserError(
            f"{path}: this tokenizer {does}, which lowercase={asked} cannot change; leave "
            "`lowercase` out, or name another."
        )
    return tokenizer


def _file_in(folder: Path) -> Path:
    for name in FILES:
        if (folder / name).is_file():
            return folder / name
    found = sorted(folder.glob("*.model"))
    if len(found) == 1:
        return found[0]
    several = f" but several .model files ({', '.join(file.name for file in found)}); name one"
    raise UserError(
        f"{folder}: no {' or '.join(FILES)} there"
        + (several if found else "; name the file of a vocabulary, or a folder that has one")
        + "."
    )


def _open_file(path: Path, lowercase: bool | None) -> Tokenizer:
    if path.suffix == ".json":
        tokenizer = Tokenizer.from_json(read_text(path), path)
        apply_settings(tokenizer.backend, path.parent)
        return tokenizer
    if path.suffix != ".model":
        return Tokenizer.from_backend(read_wordpiece(path, lowercase), path)
    backend = read_sentencepiece(path)
    if lowercase:
        backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), backend.normalizer])
    return Tokenizer.from_backend(backend, path)


def _lowercases(tokenizer: Tokenizer) -> bool:
    normalizer = tokenizer.backend.normalizer
    return normalizer is not None and "a" in normalizer.normalize_str("A")


def _longest_first(
    lengths: np.ndarray, pair_lengths: np.ndarray, room: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns how many tokens of each text and its pair to keep to fit `room`."""
    shorter = np.minimum(np.minimum(lengths, pair_lengths), room // 2)
    longer = np.minimum(np.maximum(lengths, pair_lengths), room - shorter)
    swapped = lengths > pair_lengths
    return np.where(swapped, longer, shorter), np.where(swapped, shorter, longer)


def _place(
    ids: np.ndarray,
    tokens: np.ndarray,
    lengths: np.ndarray,
    kept: np.ndarray,
    first_column: np.ndarray,
) -> None:
    """Writes the first `kept` tokens of each text contiguously into its row of `ids`.

    `tokens` concatenates the tokens of all texts; `lengths` holds their number per text.
    """
    rows = np.repeat(np.arange(len(lengths)), lengths)
    position = np.arange(len(tokens)) - (np.cumsum(lengths) - lengths)[rows]
    fits = position < kept[rows]
    ids[rows[fits], (first_column[rows] + position)[fits]] = tokens[fits]


def _not_text(block: Sequence[object], start: int) -> str:
    for number, text in enumerate(block, start):
        if not isinstance(text, str):
            return f"text {number:,} is no text but {type(text).__name__}: {text!r:.60}."
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            return (
                f"text {number:,} cannot be written in UTF-8 ({error}); mend it where it is read."
            )
    return "a text cannot be read."
