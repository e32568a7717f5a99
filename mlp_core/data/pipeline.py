"""Batches by step number, through Grain.

The training batch of step k is a pure function of (seed, k): resuming at step k needs no saved
iterator, and the number of hosts does not matter. Epochs follow one another without a gap, each
visits every example once in its own order, and a batch may span two of them.
"""

import functools
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import grain
import numpy as np

from mlp_core.data.sources import Source, SourceForWorkers
from mlp_core.data.workers import batches_of_workers

Batch = dict[str, np.ndarray]

PREFETCHED_BATCHES = 4
PREFETCHED_EVAL_BATCHES = 2
READING_THREADS = 2  # The second starts a batch while the source's threads finish another.


class TrainOrder:
    """The order of training examples, by step."""

    def __init__(self, num_examples: int, global_batch_size: int, seed: int):
        """An order of `num_examples` examples, determined by `seed`."""
        self._num_examples = num_examples
        self._global_batch_size = global_batch_size
        self._seed = seed
        # A batch spans at most two epochs unless it is larger than the data set.
        self._permutation = functools.lru_cache(maxsize=2)(self._shuffle)

    def __reduce__(self):
        """Pickles the arguments only; permutations are recomputed."""
        return TrainOrder, (self._num_examples, self._global_batch_size, self._seed)

    def positions(self, step: int) -> np.ndarray:
        """Returns int64 positions [B] of the global batch of `step` in the endless order."""
        first = step * self._global_batch_size
        return np.arange(first, first + self._global_batch_size, dtype=np.int64)

    def batch(self, step: int) -> np.ndarray:
        """Returns indices [B] of the examples in the global batch of `step`."""
        positions = self.positions(step)
        epochs, offsets = np.divmod(positions, self._num_examples)
        indices = np.empty_like(positions)
        for epoch in range(epochs[0], epochs[-1] + 1):
            here = epochs == epoch
            indices[here] = self._permutation(epoch)[offsets[here]]
        return indices

    def _shuffle(self, epoch: int) -> np.ndarray:
        return np.random.default_rng((self._seed, epoch)).permutation(self._num_examples)


def train_batches(
    source: Source,
    global_batch_size: int,
    seed: int,
    first_step: int,
    total_steps: int,
    num_workers: int = 0,
    rows: np.ndarray | None = None,
) -> Generator[Batch]:
    """Yields the batches of steps `first_step` to `total_steps` - 1, prefetched.

    Close the generator when done. With `num_workers` that many processes gather the same batches
    from copies of a `SourceForWorkers`. With `rows`, indices into a global batch, reads only these
    rows.

    Raises:
        UserError: examples are unreadable, or a worker has died.
    """
    order = TrainOrder(len(source), global_batch_size, seed)
    gather = GatherStep(source, order, np.arange(global_batch_size) if rows is None else rows)
    num_rows = len(gather.rows)
    if not num_workers or not isinstance(source, SourceForWorkers):

        def gather_all(step: int) -> Batch:
            return gather(step, slice(0, num_rows))

        yield from _read_ahead(gather_all, first_step, total_steps, PREFETCHED_BATCHES)
        return
    like = gather(first_step, slice(0, 1))
    batches = batches_of_workers(
        gather.with_findings, like, num_rows, first_step, total_steps, num_workers
    )
    with closing(batches):
        for batch, findings in batches:
            for finding in findings:
                source.take_note(finding)
            yield batch


@dataclass(frozen=True)
class GatherStep:
    """Gathers some rows of training batches."""

    source: Source | SourceForWorkers
    order: TrainOrder
    rows: np.ndarray

    def __call__(self, step: int, part: slice) -> Batch:
        """Returns the slice `part` of the rows of the batch of `step`."""
        rows = self.rows[part]
        return self.source.gather(self.order.batch(step)[rows], self.order.positions(step)[rows])

    def with_findings(self, step: int, part: slice) -> tuple[Batch, Any]:
        """In a worker: also returns the findings of its copy of the source."""
        return self(step, part), self.source.findings()


def eval_batches(
    source: Source, global_batch_size: int, rows: np.ndarray | None = None
) -> Generator[Batch]:
    """Yields batches with every example exactly once, in order, prefetched.

    The last batch is padded with copies of the first example; `mask`, float32 [B], is zero for
    padding and for unreadable examples, and one elsewhere. With `rows`, indices into a global
    batch, reads only these rows.
    """
    rows = np.arange(global_batch_size) if rows is None else rows

    def gather(i: int) -> Batch:
        positions = i * global_batch_size + rows
        real = positions < len(source)
        batch = source.gather(np.where(real, positions, 0))
        return batch | {"mask": real.astype(np.float32) * batch.get("mask", np.float32(1))}

    count = -(-len(source) // global_batch_size)
    yield from _read_ahead(gather, 0, count, PREFETCHED_EVAL_BATCHES)


def _read_ahead(
    gather: Callable[[int], Batch], first: int, last: int, count: int
) -> Generator[Batch]:
    """Yields `gather(i)` for `first` to `last` - 1; threads prefetch `count` of them."""
    options = grain.ReadOptions(num_threads=READING_THREADS, prefetch_buffer_size=count)
    with closing(
        iter(grain.MapDataset.range(first, last).map(gather).to_iter_dataset(options))
    ) as it:
        yield from it
