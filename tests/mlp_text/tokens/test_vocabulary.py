import time

import numpy as np
import pytest

from mlp_core.errors import UserError
from mlp_text.tokens.special_tokens import SPECIAL_TOKENS
from mlp_text.tokens.tokenizer import Tokenizer
from mlp_text.tokens.vocabulary import KINDS, train_vocabulary
from tests.mlp_text.data.english import ODD, PARAGRAPHS

TEXT = PARAGRAPHS[:1500]


@pytest.mark.parametrize("kind", KINDS)
def test_a_vocabulary_has_its_size_and_begins_with_the_special_tokens(kind, capsys):
    tokenizer = train_vocabulary(iter(TEXT), kind, 800)
    assert tokenizer.vocab_size == 800
    assert tuple(tokenizer.tokens(range(5))) == SPECIAL_TOKENS
    assert tokenizer.special_ids == (0, 1, 2, 3, 4)
    assert tokenizer.pad_id == 0 and tokenizer.mask_id == 4
    assert 100 < tokenizer.continuation.sum() < 700
    assert Tokenizer.from_json(tokenizer.to_json()) == tokenizer
    characters = sum(map(len, TEXT))
    assert f"{kind} vocabulary of 800 pieces from {characters:,} ch" in capsys.readouterr().out


@pytest.mark.parametrize("kind", KINDS)
def test_a_vocabulary_fits_text_that_it_has_not_seen(kind):
    tokenizer = train_vocabulary(TEXT, kind, 800)
    unseen = PARAGRAPHS[1500:1800]
    ids = np.concatenate(tokenizer.ids(unseen))
    assert np.mean(ids == tokenizer.unk_id) < 0.01
    assert sum(map(len, unseen)) / len(ids) > 2.5  # Characters a token.
    assert tokenizer.decode(tokenizer.ids(["the list is a class"])[0]) == "the list is a class"


@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_text_gives_the_same_vocabulary(kind, lowercase):
    first, second, third = (train_vocabulary(TEXT, kind, 600, lowercase) for _ in range(3))
    assert first == second == third


@pytest.mark.parametrize("kind", KINDS)
def test_lowercased_and_cased_vocabularies(kind):
    cased, lowered = (train_vocabulary(TEXT, kind, 600, lowercase) for lowercase in (False, True))
    assert cased.ids(["The List"]) != cased.ids(["the list"])
    assert lowered.ids(["The LIST"]) == lowered.ids(["the list"])
    pieces = set(lowered.tokens(range(5, 600)))
    assert not any(piece != piece.lower() for piece in pieces)


def test_rare_characters_leave_room_for_words():
    rare = "".join(map(chr, range(0x4E00, 0x5200)))  # A thousand characters, once each.
    tokenizer = train_vocabulary([*TEXT, rare], "wordpiece", 800)
    assert tokenizer.vocab_size == 800
    pieces = tokenizer.tokens(range(800))
    assert sum(len(piece.removeprefix("##")) == 1 for piece in pieces) <= 400
    assert {"the", "of", "class"} <= set(pieces)


@pytest.mark.parametrize("kind", KINDS)
def test_odd_text_is_text_too(kind):
    tokenizer = train_vocabulary([*ODD, *TEXT[:200]], kind, 600)
    assert len(tokenizer.ids(ODD)) == len(ODD)


@pytest.mark.parametrize("kind", KINDS)
def test_no_more_text_is_read_than_asked_for(kind, capsys):
    def endless():
        while True:
            yield from TEXT

    limit = sum(map(len, TEXT[:300])) - 5
    tokenizer = train_vocabulary(endless(), kind, 500, max_characters=limit)
    assert f"from the first {limit:,} characters" in capsys.readouterr().out
    start = [*TEXT[:299], TEXT[299][:-5]]
    assert tokenizer == train_vocabulary(start, kind, 500)


@pytest.mark.parametrize("kind", KINDS)
def test_text_too_short_for_the_size_gives_less_and_says_so(kind, capsys):
    tokenizer = train_vocabulary(["the cat", "the cat", "the mat"], kind, 1000)
    assert 10 < tokenizer.vocab_size < 40
    said = f"the text gives {tokenizer.vocab_size} pieces only, not 1,000"
    assert said in capsys.readouterr().out


def test_a_word_without_end_takes_no_time_without_end():
    started = time.process_time()
    tokenizer = train_vocabulary([*TEXT, "ab" * 100_000], "wordpiece", 800)
    assert time.process_time() - started < 10  # Whole, it takes minutes.
    assert tokenizer.vocab_size == 800


@pytest.mark.parametrize("kind", KINDS)
def test_no_text_is_refused(kind):
    for texts in ([], ["", "  \n"]):
        with pytest.raises(UserError, match="There is no text to make a vocabulary from"):
            train_vocabulary(texts, kind, 1000)


def test_impossible_wishes_are_told_in_a_sentence():
    with pytest.raises(UserError, match="'bpe' is no kind of vocabulary; take wordpiece or uni"):
        train_vocabulary(TEXT, "bpe", 1000)
    with pytest.raises(UserError, match="vocab_size=99 is too small"):
        train_vocabulary(TEXT, "wordpiece", 99)
    many = " ".join(map(chr, range(0x4E00, 0x5200)))
    with pytest.raises(UserError, match=r"No vocabulary of 200 pieces can be made .*200 vs"):
        train_vocabulary([many], "unigram", 200)


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_of_the_reader_is_not_hidden(kind):
    def broken():
        yield "the cat"
        raise UserError("shard 3 is damaged")

    with pytest.raises(UserError, match="^shard 3 is damaged$"):
        train_vocabulary(broken(), kind, 1000)
