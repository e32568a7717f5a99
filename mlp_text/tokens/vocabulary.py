"""Trains a vocabulary on user text: WordPiece as in BERT, or a SentencePiece unigram.

The special tokens [PAD] [UNK] [CLS] [SEP] [MASK] are ids 0 to 4. The same text gives the same
vocabulary on any machine.
"""

import io
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence

from tokenizers import normalizers, trainers

from mlp_core.errors import UserError
from mlp_core.process.console import say
from mlp_text.tokens.sentencepiece_model import sentencepiece_tokenizer
from mlp_text.tokens.special_tokens import SPECIAL_TOKENS
from mlp_text.tokens.tokenizer import Tokenizer
from mlp_text.tokens.wordpiece import wordpiece

KINDS = ("wordpiece", "unigram")
MAX_CHARACTERS = 50_000_000  # About ten million words; more hardly changes a vocabulary.
MIN_VOCAB_SIZE = 100
MAX_ALPHABET = 1_000  # Single-character pieces, as in BERT's training.
VERY_LONG_WORD = re.compile(r"(\S{1000})")  # Training is quadratic in word length.
MIN_FREQUENCY = 2  # Of merged pairs, as in BERT's training.
UNIGRAM_THREADS = 16  # The library's default; fixed, as it determines the order of sums.


def train_vocabulary(
    texts: Iterable[str],
    kind: str = "wordpiece",
    vocab_size: int = 32_000,
    lowercase: bool = False,
    max_characters: int = MAX_CHARACTERS,
) -> Tokenizer:
    """Trains a vocabulary on texts.

    Reads up to `max_characters` of text into memory; prints a note if there was more.

    Args:
        texts: documents, paragraphs or sentences; the first ones should be representative.
        kind: `wordpiece` (through `tokenizers`), or `unigram` (through SentencePiece).
        vocab_size: including special tokens. Too little text gives a smaller vocabulary, with a
            note.
        lowercase: whether to ignore case; WordPiece then also strips accents, as in BERT.
        max_characters: characters of text to train on.

    Raises:
        UserError: there is no text, or `kind` or `vocab_size` is invalid.
    """
    if kind not in KINDS:
        raise UserError(f"kind={kind!r} is no kind of vocabulary; take {' or '.join(KINDS)}.")
    if vocab_size < MIN_VOCAB_SIZE:
        raise UserError(
            f"vocab_size={vocab_size} is too small: a vocabulary of less than {MIN_VOCAB_SIZE} "
            "has no room for the letters; thousands are usual."
        )
    sample = _sample(texts, max_characters)
    say(
        f"Making a {kind} vocabulary of {vocab_size:,} pieces from "
        f"{sum(map(len, sample)):,} characters."
    )
    train = _train_wordpiece if kind == "wordpiece" else _train_unigram
    tokenizer = train(sample, vocab_size, lowercase)
    if tokenizer.vocab_size < vocab_size:
        say(
            f"Note: the text gives {tokenizer.vocab_size:,} pieces only, not {vocab_size:,}; "
            "more text gives more."
        )
    return tokenizer


def _sample(texts: Iterable[str], max_characters: int) -> list[str]:
    sample, left = [], max_characters
    for text in texts:
        if left <= 0:
            say(f"Note: the vocabulary is made from the first {max_characters:,} characters.")
            break
        text = text[:left].strip()
        if text:
            sample.append(text)
            left -= len(text)
    if not sample:
        raise UserError("There is no text to make a vocabulary from: every text is empty.")
    return sample


def _train_wordpiece(texts: Sequence[str], vocab_size: int, lowercase: bool) -> Tokenizer:
    normalizer = wordpiece({}, lowercase).normalizer
    texts = [VERY_LONG_WORD.sub(r"\1 ", normalizer.normalize_str(text)) for text in texts]
    texts = _without_rare_characters(texts, min(MAX_ALPHABET, vocab_size // 4))
    # The library numbers single characters randomly and breaks ties between pairs by these
    # numbers. A first run returns the alphabet, whose order is then fixed.
    alphabet = set(_pieces(texts, SPECIAL_TOKENS, vocab_size=0)) - set(SPECIAL_TOKENS)
    in_order = sorted(alphabet, key=lambda piece: (len(piece), piece))
    pieces = _pieces(texts, [*SPECIAL_TOKENS, *in_order], vocab_size)
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    return Tokenizer.from_backend(wordpiece(vocabulary, lowercase), "the new vocabulary")


def _without_rare_characters(texts: Sequence[str], alphabet_size: int) -> list[str]:
    """Replaces all but the most frequent characters by spaces."""
    counts = Counter()
    for text in texts:
        counts.update(text)
    by_frequency = sorted(counts, key=lambda character: (-counts[character], character))
    spaces = {ord(character): " " for character in by_frequency[alphabet_size:]}
    return [text.translate(spaces) for text in texts] if spaces else list(texts)


def _pieces(texts: Sequence[str], first: Sequence[str], vocab_size: int) -> list[str]:
    """Trains on normalised texts; returns the pieces in order, starting with `first`."""
    backend = wordpiece({}, lowercase=False)
    backend.normalizer = normalizers.Sequence([])
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=MIN_FREQUENCY,
        special_tokens=list(first),
        show_progress=sys.stderr.isatty(),
    )
    backend.train_from_iterator(texts, trainer, length=len(texts))
    pieces = backend.get_vocab()
    return sorted(pieces, key=pieces.get)


def _train_unigram(texts: Sequence[str], vocab_size: int, lowercase: bool) -> Tokenizer:
    # Imported here, since only training a vocabulary needs it.
    from sentencepiece import SentencePieceTrainer

    pad, unk, cls, sep, mask = SPECIAL_TOKENS
    model = io.BytesIO()
    try:
        SentencePieceTrainer.train(
            sentence_iterator=(line for text in texts for line in text.split("\n")),
            model_writer=model,
            model_type="unigram",
            vocab_size=vocab_size,
            hard_vocab_limit=False,
            normalization_rule_name="nmt_nfkc_cf" if lowercase else "nmt_nfkc",
            max_sentence_length=2**30,  # In bytes; longer lines are skipped.
            num_threads=UNIGRAM_THREADS,
            pad_id=0,
            pad_piece=pad,
            unk_id=1,
            unk_piece=unk,
            bos_id=2,
            bos_piece=cls,
            eos_id=3,
            eos_piece=sep,
            control_symbols=[mask],
            minloglevel=1,
        )
    except RuntimeError as error:
        reason = str(error).rpartition("] ")[2]  # Drops the library's source location.
        raise UserError(
            f"No vocabulary of {vocab_size:,} pieces can be made from this text ({reason}); try "
            "another vocab_size, or more text."
        ) from error
    backend = sentencepiece_tokenizer(model.getvalue(), "the new vocabulary")
    return Tokenizer.from_backend(backend, "the new vocabulary")
