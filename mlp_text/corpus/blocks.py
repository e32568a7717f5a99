"""Documents, as lists of tokens, to blocks of a fixed length.

Shapes: K blocks that a call completes, N tokens of a block, V vocabulary.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Literal, NamedTuple, Protocol

import numpy as np

from mlp_core.errors import UserError
from mlp_text.tokens.tokenizer import Tokenizer

Packing = Literal["packed", "document"]


@dataclasses.dataclass(frozen=True)
class BlockLayout:
    """How documents become blocks.

    "packed": [CLS], N - 2 tokens, [SEP]; documents follow one another with [SEP] between, and may
    go on in the next block. What is left at the end of a shard is padded.
    "document": [CLS], the first N - 2 tokens of a document, [SEP], padded.
    """

    num_tokens: int  # N, with [CLS] and [SEP].
    packing: Packing
    vocab_size: int
    pad_id: int
    cls_id: int
    sep_id: int

    @classmethod
    def of(cls, tokenizer: Tokenizer, num_tokens: int, packing: Packing) -> "BlockLayout":
        """For the tokens of `tokenizer`.

        Raises:
            UserError: there is no room for a token of text between [CLS] and [SEP].
        """
        if num_tokens < 3:
            raise UserError(f"{num_tokens} tokens a block: [CLS], [SEP] and text need 3 or more.")
        special = (tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id)
        return cls(num_tokens, packing, tokenizer.vocab_size, *special)

    @property
    def dtype(self) -> np.dtype:
        """Of tokens on disk: the smallest that holds them."""
        return np.dtype("<u2" if self.vocab_size <= 1 << 16 else "<i4")

    def empty_blocks(self, num_blocks: int) -> np.ndarray:
        """Blocks [K, N] that hold nothing but their [CLS]."""
        blocks = np.full((num_blocks, self.num_tokens), self.pad_id, self.dtype)
        blocks[:, 0] = self.cls_id
        return blocks

    def count_tokens(self, blocks: np.ndarray) -> np.ndarray:
        """How often each token occurs in blocks [K, N], as int64 [V]: those of text only."""
        counts = np.bincount(blocks.ravel(), minlength=self.vocab_size)
        counts[[self.pad_id, self.cls_id, self.sep_id]] = 0
        return counts


class PackedBlocks:
    """Puts documents one after another; see `BlockLayout`."""

    def __init__(self, layout: BlockLayout):
        """Starts with nothing."""
        self._layout = layout
        self._rest = np.empty(0, layout.dtype)  # Less than a block.
        self._has_begun = False

    def add(self, documents: Sequence[Sequence[int]]) -> np.ndarray:
        """The blocks [K, N] that these documents, none of them empty, complete."""
        if not documents:
            return self._layout.empty_blocks(0)
        # [SEP] stands before each document but the very first.
        ids = chain.from_iterable(chain((self._layout.sep_id,), ids) for ids in documents)
        new = np.fromiter(ids, self._layout.dtype, sum(map(len, documents)) + len(documents))
        tokens = np.concatenate([self._rest, new if self._has_begun else new[1:]])
        self._has_begun = True
        size = self._layout.num_tokens - 2
        num_blocks = len(tokens) // size
        blocks = self._layout.empty_blocks(num_blocks)
        blocks[:, 1:-1] = tokens[: num_blocks * size].reshape(num_blocks, size)
        blocks[:, -1] = self._layout.sep_id
        self._rest = tokens[num_blocks * size :]
        return blocks

    def finish(self) -> np.ndarray:
        """What is left, as one block or none."""
        blocks = self._layout.empty_blocks(min(len(self._rest), 1))
        if len(self._rest):
            blocks[0, 1 : len(self._rest) + 1] = self._rest
            blocks[0, len(self._rest) + 1] = self._layout.sep_id
        return blocks


class DocumentBlocks:
    """Gives each document a block of its own; see `BlockLayout`."""

    def __init__(self, layout: BlockLayout):
        """Keeps nothing between documents."""
        self._layout = layout

    def add(self, documents: Sequence[Sequence[int]]) -> np.ndarray:
        """The blocks [K, N] of these documents."""
        blocks = self._layout.empty_blocks(len(documents))
        for block, ids in zip(blocks, documents, strict=True):
            kept = ids[: self._layout.num_tokens - 2]
            block[1 : len(kept) + 1] = kept
            block[len(kept) + 1] = self._layout.sep_id
        return blocks

    def finish(self) -> np.ndarray:
        """No block."""
        return self._layout.empty_blocks(0)


BLOCK_MAKERS: dict[Packing, Callable[[BlockLayout], PackedBlocks | DocumentBlocks]] = {
    "packed": PackedBlocks,
    "document": DocumentBlocks,
}


class Entry(NamedTuple):
    """What a shard holds at one place: a document, or something that cannot be read as one."""

    number: int  # Of the line, or of the example, from 1; for a person to find it.
    text: str  # The document; empty where there is a fault.
    fault: str  # Why there is none, such as "no JSON"; empty where there is a document.
    position: int  # Bytes of the shard that have been read so far.


class Shard(Protocol):
    """A part of a corpus. It can be pickled."""

    name: str  # For a person: a path, or the like.
    num_bytes: int  # As it lies on disk; what `Entry.position` counts up to.

    def identity(self) -> str:
        """Tells one content from another, and does not depend on the folder that it lies in."""

    def entries(self) -> Iterator[Entry]:
        """All it holds, in order; little of it is in memory at a time.

        Raises:
            UserError: it cannot be read to its end.
        """
