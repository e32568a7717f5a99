"""Sums of bits, kept beside a checkpoint, which find damage that reading it does not.

Orbax 0.12 stores arrays without a checksum: a bit that flips on disk is read as another number. A
sum of all words, modulo 2**32, is the same however arrays are sharded or stacked.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mlp_core.train_step import TrainState

WORDS = {1: jnp.uint8, 2: jnp.uint16}  # By bytes of a number; larger ones are words of 4.


def state_sums(state: TrainState) -> dict[str, int]:
    """The sum of each part of `state`, such as `params`, computed where its arrays lie.

    Waits for the arrays. With several hosts all must call it, and all get the same.
    """
    parts = {
        field.name: jax.tree.leaves(getattr(state, field.name))
        for field in dataclasses.fields(state)
    }
    if jax.default_backend() == "cpu" and jax.process_count() == 1:
        # NumPy reads them where they are, with nothing to compile.
        return {name: array_sum(jax.device_get(arrays)) for name, arrays in parts.items()}
    return sums_on_devices(parts)


def sums_on_devices(parts: Mapping[str, Sequence[jax.Array]]) -> dict[str, int]:
    """The sum of each part's arrays, as `state_sums` has it, computed by the arrays' devices."""
    return {name: int(total) for name, total in jax.device_get(_totals(parts)).items()}


def array_sum(arrays: Iterable[np.ndarray]) -> int:
    """The sum of arrays on the host, as `state_sums` has it."""
    return sum(int(_words_on_host(array).sum(dtype=np.uint32)) for array in arrays) % (1 << 32)


# One program of all arrays, a second or two of compilation: all hosts run its collectives in one
# order. Those of programs queued one behind the other can wait for each other for ever on CPUs.
@jax.jit
def _totals(parts: Mapping[str, Sequence[jax.Array]]) -> dict[str, jax.Array]:
    return {
        name: sum((_sum(array) for array in arrays), start=jnp.uint32(0))
        for name, arrays in parts.items()
    }


def _sum(array: jax.Array) -> jax.Array:
    words = jax.lax.bitcast_convert_type(array, WORDS.get(array.dtype.itemsize, jnp.uint32))
    return jnp.sum(words, dtype=jnp.uint32)


def _words_on_host(array: np.ndarray) -> np.ndarray:
    return np.ravel(array).view(WORDS.get(array.dtype.itemsize, np.uint32))
