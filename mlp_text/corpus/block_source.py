"""Blocks of tokens on disk, with random access.

Shapes: B blocks of a batch, N tokens of a block, V vocabulary.
"""

import dataclasses
import functools
import json
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader

from mlp_core.data.sources import digest_of, sampled_indices
from mlp_core.errors import UserError
from mlp_core.process.files import read_json
from mlp_core.weights.arrays import ArrayHeader, read_npy_header
from mlp_text.corpus.blocks import BlockLayout
from mlp_text.corpus.shard_blocks import ShardFiles

CORPUS_FILE = "corpus.json"
COUNTS_FILE = "token_counts.npy"
LONGEST_BLOCK = 1 << 20  # Tokens.
NO_READ_AHEAD = "readahead_buffer_size:0"  # In random order it would read in vain.


class BlockSource:
    """The blocks of a folder that `build.build_corpus` has made, as a `Source`; picklable."""

    def __init__(self, folder: Path):
        """Opens it.

        Raises:
            UserError: it holds no whole corpus.
        """
        self._folder = folder
        try:
            corpus = read_json(folder / CORPUS_FILE)
            self.layout = BlockLayout(**corpus["settings"]["layout"])
            self.totals: Mapping[str, int] = corpus["totals"]  # See `shard_blocks.ShardReport`.
            lengths = [shard["blocks"] for shard in corpus["contents"]]
            _check_numbers(self.layout, lengths)
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError(
                f"{folder}: holds no corpus that is whole; remove it, to have it made again."
            ) from None
        self._ends = np.array(list(accumulate(lengths)))
        self._starts = self._ends - lengths

    def __len__(self) -> int:
        """Number of blocks."""
        return int(self._ends[-1])

    def __getstate__(self) -> dict[str, Any]:
        """Without the open files."""
        return {name: value for name, value in vars(self).items() if name != "_readers"}

    def token_counts(self) -> np.ndarray:
        """How often each token occurs in all blocks, int64 [V]; 0 for [CLS], [SEP] and [PAD].

        Raises:
            UserError: the file of them is damaged.
        """
        path = self._folder / COUNTS_FILE
        try:
            return read_counts(path, self.layout.vocab_size)
        except (OSError, ValueError) as error:
            raise _damaged(path) from error

    def digest(self) -> str:
        """See `Source`."""
        layout = json.dumps(dataclasses.asdict(self.layout))
        sample = self.gather(sampled_indices(len(self)))["input_ids"]
        return digest_of([layout.encode(), len(self).to_bytes(8), self.token_counts(), sample])

    def gather(self, indices: np.ndarray, draws: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Blocks as `input_ids`, int32 [B, N], and their places as `index`, int32 [B].

        Nothing is random here, so `draws` is ignored.

        Raises:
            UserError: a file is damaged.
        """
        input_ids = np.empty((len(indices), self.layout.num_tokens), np.int32)
        shards = np.searchsorted(self._ends, indices, side="right")
        order = np.argsort(shards, kind="stable")  # Rows of one file are read together.
        found, firsts = np.unique(shards[order], return_index=True)
        for shard, rows in zip(found.tolist(), np.split(order, firsts[1:]), strict=True):
            places = indices[rows] - self._starts[shard]
            input_ids[rows] = self._read(shard, places.tolist())
        return {"input_ids": input_ids, "index": indices.astype(np.int32)}

    def _read(self, shard: int, places: list[int]) -> np.ndarray:
        """Blocks of one file, [K, N]."""
        try:
            records = self._reader(shard).read(places)
        except (OSError, RuntimeError, ValueError, IndexError) as error:
            raise _damaged(self._path(shard)) from error
        size = self.layout.num_tokens * self.layout.dtype.itemsize
        if any(len(record) != size for record in records):
            raise _damaged(self._path(shard))
        blocks = np.frombuffer(b"".join(records), self.layout.dtype).reshape(len(places), -1)
        if blocks.size and not 0 <= blocks.min() <= blocks.max() < self.layout.vocab_size:
            raise _damaged(self._path(shard))
        return blocks

    def _reader(self, shard: int) -> ArrayRecordReader:
        """Opened when first wanted; without reading ahead it keeps no file descriptor."""
        if shard not in self._readers:
            reader = ArrayRecordReader(str(self._path(shard)), NO_READ_AHEAD)
            if reader.num_records() != self._ends[shard] - self._starts[shard]:
                raise _damaged(self._path(shard))
            self._readers[shard] = reader
        return self._readers[shard]

    @functools.cached_property
    def _readers(self) -> dict[int, ArrayRecordReader]:
        return {}

    def _path(self, shard: int) -> Path:
        return ShardFiles.of(self._folder, shard, len(self._ends)).blocks


def read_counts(path: Path, vocab_size: int) -> np.ndarray:
    """The counts of a vocabulary's tokens, int64 [V], as numpy has written them.

    Raises:
        OSError, ValueError: they cannot be read, or are something else.
    """
    with path.open("rb") as file:
        if read_npy_header(file, path.name) != ArrayHeader((vocab_size,), np.dtype(np.int64)):
            raise ValueError(f"no counts of {vocab_size:,} tokens")
    return np.load(path)


def _check_numbers(layout: BlockLayout, lengths: list[int]) -> None:
    """Raises ValueError where the numbers of a corpus cannot be."""
    numbers = [layout.num_tokens, layout.vocab_size, layout.pad_id, layout.cls_id, layout.sep_id]
    if not all(type(number) is int and 0 <= number < 1 << 31 for number in numbers + lengths):
        raise ValueError("impossible numbers")
    if layout.num_tokens > LONGEST_BLOCK or not lengths:
        raise ValueError("impossible blocks")


def _damaged(path: Path) -> UserError:
    return UserError(f"{path}: missing or damaged; remove the folder, to have it made again.")
