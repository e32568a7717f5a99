"""Checksums of the training state, stored with each checkpoint to find damage on disk.

Orbax 0.12 stores arrays without a checksum, so a flipped bit on disk goes unnoticed. Each 32-bit
word of an array is weighted by a hash of its position and of the array's name, so that flipped,
negated, reordered and exchanged numbers change the sum. A sum modulo 2**32 does not depend on the
order of its terms: it is the same for any sharding and any number of hosts.
"""

import dataclasses
import functools
import os
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mlp_core.checkpoints.train_state import TrainState

WEIGHTED = "weighted_sums"  # Method of the sums; also their name in a checkpoint's metadata.
PLAIN = "bit_sums"  # Used by older checkpoints: all words have weight one.

BLOCK = 1 << 15  # Words; position and block are weighted separately. Fits a core's cache.
MOST_THREADS = 8
WORDS = {1: jnp.uint8, 2: jnp.uint16}  # By bytes per number; larger numbers are 32-bit words.


def state_sums(state: TrainState, method: str = WEIGHTED) -> dict[str, int]:
    """Returns the checksum of each part of `state`, such as `params`.

    Waits for the arrays. With several hosts, all must call it, and all get the same result.
    """
    parts = {
        field.name: named_arrays(getattr(state, field.name)) for field in dataclasses.fields(state)
    }
    if jax.default_backend() == "cpu" and jax.process_count() == 1:
        # NumPy reads the arrays in place and needs no compilation.
        return sums_on_host(jax.device_get(parts), method)
    return sums_on_devices(parts, method)


def named_arrays(tree: Any) -> dict[str, Any]:
    """Returns the arrays of a tree by path, such as `MixerBlock_0/mlp/kernel`."""
    leaves = jax.tree.leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def sums_on_host(
    parts: Mapping[str, Mapping[str, np.ndarray]], method: str = WEIGHTED
) -> dict[str, int]:
    """Same as `state_sums`, for parts whose arrays are in host memory."""
    arrays = [
        (part, _seed(name), array)
        for part, arrays in parts.items()
        for name, array in arrays.items()
    ]
    threads = min(os.cpu_count() or 1, MOST_THREADS)
    with ThreadPoolExecutor(threads) as pool:
        shares = [arrays[i::threads] for i in range(threads)]
        found = pool.map(functools.partial(_sums_of_share, method), shares)
    totals = dict.fromkeys(parts, 0)
    for part, value in (pair for share in found for pair in share):
        totals[part] = (totals[part] + value) % (1 << 32)
    return totals


def sums_on_devices(
    parts: Mapping[str, Mapping[str, jax.Array]], method: str = WEIGHTED
) -> dict[str, int]:
    """Same as `state_sums`, computed on the devices that hold the arrays."""
    return {name: int(total) for name, total in jax.device_get(_totals(parts, method)).items()}


def _sums_of_share(method: str, arrays: list[tuple[str, int, np.ndarray]]) -> list[tuple[str, int]]:
    return [(part, _sum_on_host(array, seed, method)) for part, seed, array in arrays]


def _sum_on_host(array: np.ndarray, seed: int, method: str) -> int:
    words = np.ravel(array).view(WORDS.get(array.dtype.itemsize, np.uint32))
    if method == PLAIN:
        return int(words.sum(dtype=np.uint32))
    words = words.astype(np.uint32, copy=False)
    weights, scratch = _weights_in_block(), np.empty(min(words.size, BLOCK), np.uint32)
    starts = range(0, words.size, BLOCK)
    sums = np.empty(len(starts), np.uint32)
    for block, start in enumerate(starts):
        part = words[start : start + BLOCK]
        mixed = scratch[: part.size]
        np.right_shift(part, 16, out=mixed)
        np.bitwise_xor(mixed, part, out=mixed)
        np.multiply(mixed, weights[: part.size], out=mixed)
        sums[block] = np.add.reduce(mixed, dtype=np.uint32)
    block_weights = _weight(np.arange(sums.size, dtype=np.uint32) + np.uint32(seed))
    return int((sums * block_weights).sum(dtype=np.uint32))


# One program sums all arrays (a second or two to compile), so that all hosts run its collectives in
# the same order. On CPUs, the collectives of several queued programs can deadlock.
@functools.partial(jax.jit, static_argnames="method")
def _totals(parts: Mapping[str, Mapping[str, jax.Array]], method: str) -> dict[str, jax.Array]:
    return {
        part: sum(
            (_sum_on_devices(array, _seed(name), method) for name, array in arrays.items()),
            start=jnp.uint32(0),
        )
        for part, arrays in parts.items()
    }


def _sum_on_devices(array: jax.Array, seed: int, method: str) -> jax.Array:
    words = jax.lax.bitcast_convert_type(array, WORDS.get(array.dtype.itemsize, jnp.uint32))
    if method == PLAIN:
        return jnp.sum(words, dtype=jnp.uint32)
    words = words.astype(jnp.uint32)
    index = jnp.uint32(0)
    for axis, size in enumerate(words.shape):
        index = index * jnp.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, words.shape, axis)
    weights = _weight(index % BLOCK) * _weight(index // BLOCK + jnp.uint32(seed))
    # Modulo 2**32, the product of a sign bit keeps only one bit, the same for all odd weights. The
    # shift adds every high bit to the lower half, where it changes the sum by position.
    return jnp.sum((words ^ (words >> 16)) * weights, dtype=jnp.uint32)


@functools.cache
def _weights_in_block() -> np.ndarray:
    return _weight(np.arange(BLOCK, dtype=np.uint32))


def _weight(position: np.ndarray | jax.Array) -> np.ndarray | jax.Array:
    """Returns a random odd weight; as it is odd, any change of a single word changes the sum."""
    return _hash(position) | np.uint32(1)


def _seed(name: str) -> int:
    return zlib.crc32(name.encode())


def _hash(x: np.ndarray | jax.Array) -> np.ndarray | jax.Array:
    """Applies the finalizer of MurmurHash3 to 32-bit words."""
    x = (x ^ (x >> 16)) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * np.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
