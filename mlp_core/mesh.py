"""Devices as a named mesh, and how batches and state lie on it.

The mesh has one axis, `data`: batches are split over it and the training state is replicated.
"""

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from mlp_core.errors import UserError


def make_mesh() -> Mesh:
    """All devices of all hosts on the axis `data`."""
    return jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Splits the first axis of a batch over the devices."""
    return NamedSharding(mesh, PartitionSpec("data"))


def replicated(mesh: Mesh) -> NamedSharding:
    """A whole copy on each device."""
    return NamedSharding(mesh, PartitionSpec())


def put_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Moves this host's rows of a global batch to its devices."""
    sharding = batch_sharding(mesh)
    return {
        name: jax.make_array_from_process_local_data(sharding, rows) for name, rows in batch.items()
    }


def check_batch_size(field: str, global_batch_size: int, mesh: Mesh, micro_batches: int = 1):
    """Refuses a global batch that does not split evenly over devices and micro-batches.

    Raises:
        UserError: names the field, the numbers and the nearest size that fits.
    """
    parts = mesh.size * micro_batches
    if global_batch_size % parts:
        nearest = max(round(global_batch_size / parts), 1) * parts
        micro = f" times {micro_batches} micro-batches" if micro_batches > 1 else ""
        raise UserError(
            f"{field}: {global_batch_size} examples do not split evenly over {mesh.size} "
            f"device{'s' if mesh.size > 1 else ''}{micro}; {nearest} would."
        )
