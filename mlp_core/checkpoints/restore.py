"""A training state read from the newest checkpoint that is whole.

Whatever happens on one host, all come to the same answer.
"""

import dataclasses
import functools
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
from orbax.checkpoint import v1 as ocp

from mlp_core.checkpoints.checksums import PLAIN, WEIGHTED, state_sums
from mlp_core.checkpoints.paths import literal_path, repair
from mlp_core.checkpoints.train_state import TrainState
from mlp_core.distributed.mesh import of_first_host, on_all_hosts
from mlp_core.errors import UserError
from mlp_core.nn.stack import has_stacks, in_layout_of
from mlp_core.process.console import say
from mlp_core.run_folder.checkpoint_folder import (
    DamagedError,
    check_metrics,
    read_metrics,
    saved_steps,
    set_aside,
)

MOST_TOLD = 5
UNREPORTED = "unreported"  # Name in the metadata of a checkpoint; see `RunLog`.
METADATA_CHECKSUM = "metadata_crc32"
MOST_CHARACTERS = 200


def load_newest(directory: Path, best_metric: str, abstract_state: TrainState) -> TrainState | None:
    """The state in the newest whole checkpoint of a folder, or None where there is no checkpoint.

    Says which it is. Damaged ones are told and renamed once a whole one is found: they must not
    stand in the way of what is saved next.

    Args:
      directory: holds a folder a step.
      best_metric: the metric that checkpoints with metrics have.
      abstract_state: the shapes and shardings wanted.

    Raises:
        UserError: there are checkpoints, but none of them is whole and of this model.
    """
    steps = of_first_host(saved_steps(directory))
    problems = []
    for step in reversed(steps):
        path = directory / str(step)
        try:
            _repair(path)
            state = load_state(path, best_metric, abstract_state)
        except DamagedError as error:
            problems.append(error)
            continue
        older = [directory / str(other) for other in steps if other < step]
        _set_aside([*problems, *_with_damaged_metrics(older, best_metric)])
        say(f"Start: goes on from step {step:,}, {path}")
        return state
    if problems:
        raise _none_is_whole(directory, problems)
    return None


def _repair(path: Path) -> None:
    """As `checkpoint_paths.repair`, by the first host while the others wait."""
    failure = ""
    if jax.process_index() == 0:
        try:
            repair(path)
        except DamagedError as error:
            failure = error.reason
    if failure := of_first_host(failure):
        raise DamagedError(path, failure)


def load_state(path: Path, best_metric: str, abstract_state: TrainState) -> TrainState:
    """Reads one checkpoint into the shapes and shardings of `abstract_state`, and checks it.

    Blocks may be stacked in the one and have names of their own in the other. All hosts must call
    it; it succeeds or fails on all of them.

    Raises:
        DamagedError: it is damaged, or holds something else.
    """
    state, metadata, problem = None, None, ""
    try:
        check_metrics(path, best_metric)
        metadata = read_metadata(path)
        saved_layout = in_layout_of(metadata.tree["params"], abstract_state)
        state = read_arrays(path, saved_layout)
    except Exception as error:  # Orbax raises what it meets.
        problem = reason_of(error)
    if not on_all_hosts(not problem):
        raise DamagedError(path, problem or "another host cannot read it")
    if int(state.step) != int(path.name):
        raise DamagedError(path, f"it is of step {int(state.step)}")
    sums = metadata.sums
    found = state_sums(state, metadata.sum_method) if sums else {}
    other = [part for part in sums if sums[part] != found.get(part)]
    if other:
        raise DamagedError(path, f"other numbers than were saved, in {', '.join(other)}")
    return _in_layout_of(abstract_state, state)


def _in_layout_of(abstract_state: TrainState, state: TrainState) -> TrainState:
    """`state` with blocks stacked as in `abstract_state`, which has its shardings."""
    if has_stacks(abstract_state.params) == has_stacks(state.params):
        return state
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract_state)
    convert = functools.partial(in_layout_of, abstract_state)
    return jax.jit(convert, out_shardings=shardings)(state)


def _with_damaged_metrics(paths: Iterable[Path], best_metric: str) -> list[DamagedError]:
    """Orbax reads the metrics of every checkpoint, and fails if it cannot."""
    damaged = []
    for path in paths:
        try:
            check_metrics(path, best_metric)
        except DamagedError as error:
            damaged.append(error)
    return damaged


def _set_aside(problems: Sequence[DamagedError]) -> None:
    """Renames damaged checkpoints, on the first host; when it is done, all hosts go on."""
    failure = ""
    if jax.process_index() == 0:
        try:
            for error in problems:
                say(f"Note: {error} It is kept as {set_aside(error.path)}")
        except UserError as error:
            failure = str(error)
    if failure := of_first_host(failure):
        raise UserError(failure)


def _none_is_whole(directory: Path, problems: Sequence[DamagedError]) -> UserError:
    told = "; ".join(f"{error.path.name}: {error.reason}" for error in problems[:MOST_TOLD])
    return UserError(
        f"{directory}: no checkpoint there is whole and of this model ({told}). To start anew, "
        "name another --workdir or move that folder away."
    )


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
