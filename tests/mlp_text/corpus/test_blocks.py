"""Blocks of tokens from documents, against a plain loop."""

import numpy as np
import pytest

from mlp_core.errors import UserError
from mlp_text.corpus.blocks import BLOCK_MAKERS, BlockLayout
from tests.mlp_text.corpus.made_corpora import (
    CLS,
    PAD,
    SEP,
    ids_of,
    make_documents,
    make_tokenizer,
    one_a_block_by_hand,
    packed_by_hand,
)

BY_HAND = {"packed": packed_by_hand, "document": one_a_block_by_hand}


def blocks_of(documents, layout, batch):
    maker, ids = BLOCK_MAKERS[layout.packing](layout), [ids_of(text) for text in documents]
    parts = [maker.add(ids[i : i + batch]) for i in range(0, len(ids), batch)]
    return np.concatenate([*parts, maker.finish()])


@pytest.mark.parametrize("packing", BY_HAND)
@pytest.mark.parametrize("num_tokens", [3, 8, 31])
@pytest.mark.parametrize("batch", [1, 7, 100])
def test_blocks_are_those_of_a_plain_loop(packing, num_tokens, batch, tmp_path):
    documents = make_documents(40)
    layout = BlockLayout.of(make_tokenizer(tmp_path), num_tokens, packing)
    blocks = blocks_of(documents, layout, batch)
    assert blocks.tolist() == BY_HAND[packing](documents, num_tokens)
    assert blocks.dtype == np.uint16


@pytest.mark.parametrize("num_tokens", [3, 8, 31])
def test_packing_loses_no_token_and_counts_each(num_tokens, tmp_path):
    documents = make_documents(40)
    layout = BlockLayout.of(make_tokenizer(tmp_path), num_tokens, "packed")
    blocks = blocks_of(documents, layout, 7)
    tokens = blocks[~np.isin(blocks, [CLS, SEP, PAD])].tolist()
    assert tokens == [i for document in documents for i in ids_of(document)]
    counts = layout.count_tokens(blocks)
    assert counts.tolist() == [tokens.count(i) for i in range(layout.vocab_size)]


@pytest.mark.parametrize("vocab_size, dtype", [(1 << 16, np.uint16), ((1 << 16) + 1, np.int32)])
def test_tokens_are_as_small_as_the_vocabulary_allows(vocab_size, dtype):
    layout = BlockLayout(4, "document", vocab_size, 0, 1, vocab_size - 1)
    blocks = BLOCK_MAKERS["document"](layout).add([[vocab_size - 2, 5, 6]])
    assert blocks.dtype == dtype
    assert blocks.tolist() == [[1, vocab_size - 2, 5, vocab_size - 1]]


def test_blocks_without_room_for_text_are_refused(tmp_path):
    with pytest.raises(UserError, match="2 tokens a block"):
        BlockLayout.of(make_tokenizer(tmp_path), 2, "packed")
