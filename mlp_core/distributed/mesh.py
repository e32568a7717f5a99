"""The device mesh, and how batches are sharded over it.

The mesh has two axes. Batches are split over `data`; devices along `model` see the same examples
and may share the parameters of each layer, see `sharding`.
"""

import json
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from mlp_core.errors import UserError

DATA, MODEL = "data", "model"
MOST_BYTES = 1 << 14


def make_mesh(model_parallel: int = 1, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Makes a mesh of `devices`, by default all of all hosts; `model_parallel` share a model.

    Raises:
        UserError: `model_parallel` does not divide the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    groups, rest = divmod(len(devices), model_parallel)
    if rest:
        raise UserError(
            f"config.sharding.model_parallel: {len(devices)} devices cannot be shared out in "
            f"groups of {model_parallel}; choose a divisor of {len(devices)}."
        )
    shape, axis_types = (groups, model_parallel), (AxisType.Auto,) * 2
    return jax.make_mesh(shape, (DATA, MODEL), axis_types=axis_types, devices=devices)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Splits the first axis of a batch over the devices."""
    return NamedSharding(mesh, PartitionSpec(DATA))


def replicated(mesh: Mesh) -> NamedSharding:
    """Replicates an array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def rows_of_this_host(global_batch_size: int, mesh: Mesh) -> np.ndarray:
    """Returns the indices of a global batch's rows on this host's devices, ascending."""
    rows = np.arange(global_batch_size).reshape(mesh.shape[DATA], -1)
    return rows[_parts_of_this_host(mesh)].reshape(-1)


def put_whole(tree: Any, mesh: Mesh) -> Any:
    """Replicates arrays, the same on all hosts, on every device."""
    return jax.device_put(tree, replicated(mesh))


def put_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Moves this host's rows of a global batch, see `rows_of_this_host`, to its devices."""
    sharding = batch_sharding(mesh)
    if jax.process_count() == 1:
        return jax.device_put(batch, sharding)
    parts = _parts_of_this_host(mesh)

    def put(rows: np.ndarray) -> jax.Array:
        by_part = dict(zip(parts, np.split(rows, len(parts)), strict=True))
        size = len(by_part[parts[0]])
        shape = (size * mesh.shape[DATA], *rows.shape[1:])
        return jax.make_array_from_callback(
            shape, sharding, lambda index: by_part[index[0].indices(shape[0])[0] // size]
        )

    return {name: put(rows) for name, rows in batch.items()}


def check_batch_size(field: str, global_batch_size: int, mesh: Mesh, micro_batches: int = 1):
    """Raises `UserError` unless a global batch splits evenly over devices and micro-batches.

    The message gives the nearest batch size that does.
    """
    groups = mesh.shape[DATA]
    parts = groups * micro_batches
    if global_batch_size % parts:
        nearest = max(round(global_batch_size / parts), 1) * parts
        what = "device" if mesh.shape[MODEL] == 1 else "device group"
        micro = f" times {micro_batches} micro-batches" if micro_batches > 1 else ""
        raise UserError(
            f"{field}: {global_batch_size} examples do not split evenly over {groups} "
            f"{what}{'s' if groups > 1 else ''}{micro}; {nearest} would."
        )


def _parts_of_this_host(mesh: Mesh) -> np.ndarray:
    """Indices of the shards of a batch on this host's devices."""
    is_here = np.vectorize(lambda device: device.process_index == jax.process_index())
    return np.flatnonzero(is_here(mesh.devices).any(axis=mesh.axis_names.index(MODEL)))


def on_all_hosts(here: bool) -> bool:
    """Whether `here` is true on every host."""
    if jax.process_count() == 1:
        return here
    return bool(multihost_utils.process_allgather(np.array(here)).all())


def of_first_host(value: Any) -> Any:
    """Broadcasts host 0's `value`: anything that fits into 16 KiB of JSON."""
    if jax.process_count() == 1:
        return value
    text = json.dumps(value).encode()
    padded = np.frombuffer(text.ljust(MOST_BYTES), np.uint8)
    return json.loads(multihost_utils.broadcast_one_to_all(padded).tobytes())
