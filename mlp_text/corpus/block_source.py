"""Blocks of tokens on disk, with random access.

Shapes: B blocks of a batch, N tokens of a block, V vocabulary.
"""

import functools
import json
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader

from mlp_core.errors import UserError
from mlp_text.corpus.blocks import BlockLayout
from mlp_text.corpus.shard_blocks import ShardFiles

CORPUS_FILE = "corpus.json"
COUNTS_FILE = "token_counts.npy"
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
            corpus = json.loads((folder / CORPUS_FILE).read_text())
            self.layout = BlockLayout(**corpus["settings"]["layout"])
            self.totals: Mapping[str, int] = corpus["totals"]  # See `shard_blocks.ShardReport`.
            lengths = [shard["blocks"] for shard in corpus["contents"]]
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
            return np.load(path)
        except (OSError, ValueError, EOFError) as error:
            raise _damaged(path) from error

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
        return np.frombuffer(b"".join(records), self.layout.dtype).reshape(len(places), -1)

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


def _damaged(path: Path) -> UserError:
    return UserError(f"{path}: missing or damaged; remove the folder, to have it made again.")
