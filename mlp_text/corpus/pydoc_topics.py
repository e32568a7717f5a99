"""The corpus that needs no network: Python's language reference, of which each Python has a copy.

`pydoc_data.topics` holds it for `help()`: some 80 topics, half a megabyte of English and code.
"""

import hashlib
from collections.abc import Iterator
from itertools import count
from pydoc_data.topics import topics

from mlp_text.corpus.blocks import Entry

EVERY = 10  # Of as many topics, in the order of their names, one is held out:
HELD_OUT = 5  # The one with this number, from 0; it makes a tenth of the text, too.
SPLITS = ("train", "validation")


class PydocShard:
    """A split of the topics, a document each; see `Shard`.

    Many paragraphs stand in several topics. Those of a topic held out are taken out of the others,
    so that nothing of the validation text is trained on.
    """

    def __init__(self, split: str):
        """Takes "train" or "validation"."""
        self.name = f"pydoc:{split}"
        self._split = split
        self.num_bytes = sum(len(text.encode()) for text in self._documents())

    def identity(self) -> str:
        """Changes with the text, which each version of Python words a little differently."""
        return hashlib.sha256("\0".join(self._documents()).encode()).hexdigest()

    def entries(self) -> Iterator[Entry]:
        """See `Shard`."""
        position = 0
        for number, text in zip(count(1), self._documents(), strict=False):
            position += len(text.encode())
            yield Entry(number, text, "", position)

    def _documents(self) -> list[str]:
        names = sorted(topics)
        held_out = names[HELD_OUT::EVERY]
        if self._split == "validation":
            return [topics[name] for name in held_out]
        taken = {_words(part) for name in held_out for part in _paragraphs(topics[name])}
        kept = (
            [part for part in _paragraphs(topics[name]) if _words(part) not in taken]
            for name in names
            if name not in held_out
        )
        return ["\n\n".join(parts) for parts in kept]


def _paragraphs(text: str) -> list[str]:
    return text.split("\n\n")


def _words(paragraph: str) -> tuple[str, ...]:
    """What makes two paragraphs the same, however they are indented and broken into lines."""
    return tuple(paragraph.split())
