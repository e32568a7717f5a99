"""Small corpora and a small vocabulary, and blocks made by a plain loop."""

import gzip
import json
import random

from mlp_text.corpus.blocks import BlockLayout
from mlp_text.tokens.tokenizer import open_tokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PAD, CLS, SEP = 0, 2, 3
WORDS = [a + b for a in "bcdfgklmnprst" for b in ("a", "e", "i", "o", "u", "an", "en", "ing")]


def make_tokenizer(folder, extra=()):
    """One token a word, whose id is 5 more than its place in `WORDS`."""
    path = folder / f"vocab{len(extra)}.txt"
    path.write_text("\n".join([*SPECIAL, *WORDS, *extra]))
    return open_tokenizer(path)


def make_documents(number, seed=0, most_words=60):
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(1, most_words))) for _ in range(number)]


def write_json_lines(path, documents):
    lines = "".join(json.dumps({"text": text, "url": "x"}) + "\n" for text in documents)
    path.write_bytes(gzip.compress(lines.encode()) if path.suffix == ".gz" else lines.encode())
    return path


def ids_of(document):
    return [5 + WORDS.index(word) for word in document.split()]


def packed_by_hand(documents, num_tokens):
    stream = []
    for document in documents:
        stream += [SEP] * bool(stream) + ids_of(document)
    blocks = []
    while stream:
        kept, stream = stream[: num_tokens - 2], stream[num_tokens - 2 :]
        block = [CLS, *kept, SEP]
        blocks.append(block + [PAD] * (num_tokens - len(block)))
    return blocks


def one_a_block_by_hand(documents, num_tokens):
    blocks = [[CLS, *ids_of(document)[: num_tokens - 2], SEP] for document in documents]
    return [block + [PAD] * (num_tokens - len(block)) for block in blocks]


def layout_of(tokenizer, num_tokens=16, packing="packed"):
    return BlockLayout.of(tokenizer, num_tokens, packing)
