"""Batches by step number, through Grain.

The batch that step k trains on is a pure function of (seed, k): a run that goes on at step k
needs no saved iterator, and the number of hosts does not matter. Epochs follow one another
without a gap, each visits every example once in an order of its own, and a batch may straddle
two of them.
"""

import functools
from collections.abc import Iterator

import grain
import jax
import numpy as np

from mlp_core.source import Source

PREFETCHED_BATCHES = 4


class TrainOrder:
    """Which examples each step trains on."""

    def __init__(self, num_examples: int, global_batch_size: int, seed: int):
        """An order of `num_examples`, settled by `seed`."""
        self._num_examples = num_examples
        self._global_batch_size = global_batch_size
        self._seed = seed
        # A batch touches two epochs at most unless it is larger than the data set.
        self._permutation = functools.lru_cache(maxsize=2)(self._shuffle)

    def positions(self, step: int) -> np.ndarray:
        """Places [B], int64, of the global batch of `step` in the endless order."""
        first = step * self._global_batch_size
        return np.arange(first, first + self._global_batch_size, dtype=np.int64)

    def batch(self, step: int) -> np.ndarray:
        """Indices [B] of the examples in the global batch of `step`."""
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
    source: Source, global_batch_size: int, seed: int, first_step: int, total_steps: int
) -> Iterator[dict[str, np.ndarray]]:
    """This host's rows of the batches of steps `first_step` to `total_steps` - 1, read ahead."""
    order = TrainOrder(len(source), global_batch_size, seed)
    rows = _rows_of_this_host(global_batch_size)
    batches = grain.MapDataset.range(first_step, total_steps).map(
        lambda step: source.gather(order.batch(step)[rows], order.positions(step)[rows])
    )
    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=PREFETCHED_BATCHES)
    return iter(batches.to_iter_dataset(options))


def eval_batches(source: Source, global_batch_size: int) -> Iterator[dict[str, np.ndarray]]:
    """This host's rows of batches that hold every example exactly once, in order.

    The last batch is filled up with repetitions of the first example; `mask`, float32 [B], is
    zero there and where the source could not read an example, and one elsewhere.
    """
    rows = _rows_of_this_host(global_batch_size)
    for first in range(0, len(source), global_batch_size):
        positions = np.arange(first, first + global_batch_size)[rows]
        real = positions < len(source)
        batch = source.gather(np.where(real, positions, 0))
        yield batch | {"mask": real.astype(np.float32) * batch.get("mask", np.float32(1))}


def _rows_of_this_host(global_batch_size: int) -> slice:
    per_host = global_batch_size // jax.process_count()
    first = jax.process_index() * per_host
    return slice(first, first + per_host)
