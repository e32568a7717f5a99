"""What one checkpoint holds, read through Orbax by each host alone; failures are told once."""

import dataclasses
import json
import logging
import sys
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
from orbax.checkpoint import v1 as ocp

from mlp_core.checkpoints.checksums import PLAIN, WEIGHTED
from mlp_core.checkpoints.paths import literal_path
from mlp_core.run_folder.checkpoint_folder import DamagedError, read_metrics

UNREPORTED = "unreported"  # Name in the metadata of a checkpoint; see `RunLog`.
METADATA_CHECKSUM = "metadata_crc32"
MOST_CHARACTERS = 200

# Orbax logs, with tracebacks, what it raises besides. Once an array has failed, it listens to no
# other: asyncio tells how those failed, or Python that there is nobody to tell.
logging.getLogger("absl").addFilter(lambda record: "orbax" not in Path(record.pathname).parts)
logging.getLogger("asyncio").addFilter(lambda record: "tensorstore" not in record.getMessage())


def _without_late_arrays(told: Any, tell=sys.unraisablehook) -> None:
    if str(told.exc_value) != "Event loop is closed":
        tell(told)


sys.unraisablehook = _without_late_arrays


@dataclasses.dataclass(frozen=True)
class Metadata:
    """What a checkpoint tells of itself."""

    tree: Mapping[str, Any]  # Shapes and types of the parts of the state.
    sums: Mapping[str, int]  # Checksums by part; the oldest checkpoints have none.
    sum_method: str  # How they were computed.
    unreported: dict[str, Any]


def custom_metadata(
    sums: Mapping[str, int], unreported: Mapping[str, Any], metrics: Mapping[str, float] | None
) -> dict[str, Any]:
    """What a checkpoint's metadata hold besides Orbax's own, with a checksum of them."""
    checksum = _metadata_checksum(sums, unreported, metrics)
    return {WEIGHTED: sums, UNREPORTED: unreported, METADATA_CHECKSUM: checksum}


def _metadata_checksum(*content: Any) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())


def read_metadata(path: Path) -> Metadata:
    """What the checkpoint in `path` holds; reads no array.

    Raises:
        DamagedError: its metadata are damaged.
    """
    with _without_other_hosts(), literal_path(path.parent) as parent:
        metadata = ocp.metadata(parent / path.name)
    # Orbax lets pass what is no JSON, and what is not there.
    if metadata.commit_timestamp_nsecs is None or metadata.metadata is None:
        raise DamagedError(path, "its metadata are gone or not readable as JSON")
    custom = metadata.custom_metadata or {}
    method = WEIGHTED if WEIGHTED in custom else PLAIN
    sums, unreported = dict(custom.get(method, {})), custom.get(UNREPORTED, {})
    checksum = custom.get(METADATA_CHECKSUM)  # Absent from older checkpoints.
    if checksum not in (None, _metadata_checksum(sums, unreported, read_metrics(path))):
        raise DamagedError(path, "its metadata or metrics differ from their checksum")
    return Metadata(metadata.metadata, sums, method, unreported)


def read_arrays(path: Path, wanted: Any) -> Any:
    """The arrays of the checkpoint in `path`, with the shapes, types and shardings of `wanted`.

    Raises:
        DamagedError: they cannot be read.
    """
    with _without_other_hosts(), literal_path(path.parent) as parent:
        try:
            return ocp.load(parent / path.name, wanted)
        except Exception as error:  # Orbax raises what it meets.
            raise DamagedError(path, reason_of(error)) from error


def reason_of(error: Exception) -> str:
    """Why a checkpoint is damaged, or the first sentence of what a library raised, cut short."""
    if isinstance(error, DamagedError):
        return error.reason
    text = str(error) or type(error).__name__
    return text.splitlines()[0].split(". ")[0][:MOST_CHARACTERS]


@contextmanager
def _without_other_hosts() -> Iterator[None]:
    """Has Orbax read without waiting for other hosts, which may have met damage and given up."""
    context = ocp.Context()
    context.multiprocessing_options.primary_host = jax.process_index()
    context.multiprocessing_options.active_processes = {jax.process_index()}
    with context:
        yield
