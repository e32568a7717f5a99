"""From text to token ids, and back.

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

TOKENIZER_FILE = "tokenizer.json"  # Of a run, and of Hugging Face's.
FILES = (TOKENIZER_FILE, VOCABULARY_FILE, "spiece.model")  # In a folder.
UNKNOWN = "\U0010fffd"  # A character that no text has.
MOST_PIECES = 10_000_000  # No vocabulary has as many.
LONGEST_TEXT = 1 << 20  # Characters that rows of tokens are made from; no row needs as many.
BLOCK = 1024  # Texts that the library splits at once, on all cores.
WORD_STARTS = ("\u2581", "\u0120")  # SentencePiece's and byte-level BPE's space before a word.


@dataclass(frozen=True, eq=False)
class Tokenizer:
    """Splits text into the pieces of a vocabulary.

    The special tokens' names in a text stand for the tokens themselves, as in Hugging Face's
    tokenizers: `[MASK]` is a mask wherever it comes from.
    """

    backend: tokenizers.Tokenizer

    @classmethod
    def from_backend(cls, backend: tokenizers.Tokenizer, origin: Path | str) -> "Tokenizer":
        """Takes over a tokenizer of the library; special tokens that it lacks are appended.

        Says so if there are any, with `origin`, where the tokenizer comes from.

        Raises:
            UserError: it fails on text that it has no pieces for, or has ids that cannot be.
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
        """Reads what `to_json` or Hugging Face's tokenizers wrote; errors name `origin`.

        Raises:
            UserError: it is damaged or something else.
        """
        try:
            check_tokenizer_json(text)
            with faults_as_value_errors():
                backend = tokenizers.Tokenizer.from_str(text)
        except ValueError as error:
            raise UserError(f"{origin}: no tokenizer, or a damaged one ({error}).") from error
        return cls.from_backend(backend, origin)

    def to_json(self) -> str:
        """The whole tokenizer, as Hugging Face's tokenizers read it too."""
        return self.backend.to_str()

    def __eq__(self, other: object) -> bool:
        """Whether both split every text alike."""
        return isinstance(other, Tokenizer) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        """Follows equality."""
        return hash(self.to_json())

    @cached_property
    def vocab_size(self) -> int:
        """One more than the highest id: rows in a table of embeddings."""
        return max(self.backend.get_vocab().values()) + 1

    @cached_property
    def pad_id(self) -> int:
        """Fills a row behind its text."""
        return self._special_id("pad")

    @cached_property
    def unk_id(self) -> int:
        """Stands for what the vocabulary has no pieces for."""
        return self._special_id("unk")

    @cached_property
    def cls_id(self) -> int:
        """Begins a row."""
        return self._special_id("cls")

    @cached_property
    def sep_id(self) -> int:
        """Ends a text."""
        return self._special_id("sep")

    @cached_property
    def mask_id(self) -> int:
        """Hides a token that is to be predicted."""
        return self._special_id("mask")

    @cached_property
    def special_ids(self) -> tuple[int, ...]:
        """The five above, what else the vocabulary declares to be special, and ids of no piece."""
        added = self.backend.get_added_tokens_decoder().items()
        needed = {self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id}
        unused = set(range(self.vocab_size)) - set(self.backend.get_vocab().values())
        return tuple(sorted(needed | unused | {i for i, token in added if token.special}))

    @cached_property
    def continuation(self) -> np.ndarray:
        """Whether a piece goes on with a word, bool [V]; False for special tokens.

        In WordPiece these are `##ing` and the like; in other vocabularies the pieces without the
        mark that begins a word; none where no piece has it.
        """
        continues = np.zeros(self.vocab_size, bool)
        pieces, model = self.backend.get_vocab(), self.backend.model
        if isinstance(model, models.WordPiece):
            mark = model.continuing_subword_prefix
            continues[[i for piece, i in pieces.items() if piece.startswith(mark)]] = True
        else:
            # The mark of this vocabulary is the one that more pieces begin with.
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
        """`[CLS] text [SEP]` or `[CLS] text [SEP] pair [SEP]`, cut and padded to `max_length`.

        What is too long loses tokens at its end; of a pair the longer text is cut first, down to
        the length of the other, then both alike, as in Hugging Face's `longest_first`. Of a text
        only the first `LONGEST_TEXT` characters are tokenised, which bounds the memory.

        Args:
            texts: B of them.
            pairs: as many second texts.
            max_length: S, special tokens included.

        Returns:
            `input_ids` int32 [B, S]; `attention_mask` uint8 [B, S], 0 at pads; `token_type_ids`
            uint8 [B, S], 1 in the second text and at the [SEP] behind it.

        Raises:
            UserError: there is no room for text beside the special tokens, or a text is no text.
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
        """The ids of each text, whole, without [CLS] and [SEP].

        Raises:
            UserError: a text is no text.
        """
        return [encoding.ids for block in self._encodings(texts) for encoding in block]

    def tokens(self, ids: Iterable[int]) -> list[str]:
        """The pieces as the vocabulary writes them."""
        return [self.backend.id_to_token(int(i)) for i in ids]

    def decode(self, ids: Iterable[int]) -> str:
        """The pieces put together to text again, without special tokens."""
        return self.backend.decode([int(i) for i in ids])

    def _special_id(self, role: str) -> int:
        return self.backend.token_to_id(find_special_tokens(self.backend)[role])

    def _flat_ids(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        # All ids in one array beside each text's number of them: far faster than array by array.
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
    """Opens a vocabulary, whatever its kind.

    Args:
        path: a tokenizer.json, a SentencePiece .model, a WordPiece vocab.txt under any other
            name, or a folder with one of these; in this order where it has several.
        lowercase: whether text is lowercased; None: as the vocabulary's files say. Needed only
            for a vocab.txt without capitals that is for cased text, and for a SentencePiece model
            that wants its text lowercased beforehand.

    Raises:
        UserError: nothing is there, it is damaged or no vocabulary, or it lowercases and
            `lowercase` says that it shall not, or the other way round.
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
    """How many tokens of each text and its pair are kept, so that both fit into `room`."""
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
    """Writes the first `kept` of each text's tokens into its row of `ids`, side by side.

    `tokens` holds those of all texts, one text behind the other, `lengths` how many each has.
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
