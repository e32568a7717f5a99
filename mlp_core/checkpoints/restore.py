"""Restores the training state from the newest undamaged checkpoint.

All hosts reach the same result, even if an error occurs on only one of them.
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
UNREPORTED = "unreported"  # Key in a checkpoint's metadata; see `RunLog`.
METADATA_CHECKSUM = "metadata_crc32"
MOST_CHARACTERS = 200


def load_newest(directory: Path, best_metric: str, abstract_state: TrainState) -> TrainState | None:
    """Restores the newest undamaged checkpoint in a directory, or returns None if there is none.

    Prints which one it is. Damaged checkpoints are reported and renamed once an undamaged one is
    found, so that they do not block later saves.

    Args:
      directory: holds one directory per step.
      best_metric: the metric that checkpoints with metrics have.
      abstract_state: the shapes and shardings wanted.

    Raises:
        UserError: there are checkpoints, but all are damaged or of another model.
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
    """Runs `checkpoint_paths.repair` on host 0 while the others wait."""
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

    Blocks may be stacked in one and named separately in the other. All hosts must call it; it
    succeeds or fails on all of them.

    Raises:
        DamagedError: the checkpoint is damaged, or holds something else.
    """
    state, metadata, problem = None, None, ""
    try:
        check_metrics(path, best_metric)
        metadata = read_metadata(path)
        saved_layout = in_layout_of(metadata.tree["params"], abstract_state)
        state = read_arrays(path, saved_layout)
    except Exception as error:  # Orbax raises many types.
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
    """Returns `state` with blocks stacked as in `abstract_state`, and with its shardings."""
    if has_stacks(abstract_state.params) == has_stacks(state.params):
        return state
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract_state)
    convert = functools.partial(in_layout_of, abstract_state)
    return jax.jit(convert, out_shardings=shardings)(state)


def _with_damaged_metrics(paths: Iterable[Path], best_metric: str) -> list[DamagedError]:
    """Finds checkpoints with unreadable metrics: Orbax reads those of all, and fails on any."""
    damaged = []
    for path in paths:
        try:
            check_metrics(path, best_metric)
        except DamagedError as error:
            damaged.append(error)
    return damaged


def _set_aside(problems: Sequence[DamagedError]) -> None:
    """Renames damaged checkpoints on host 0; the other hosts wait until it is done."""
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
    """The metadata of a checkpoint."""

    tree: Mapping[str, Any]  # Shapes and types of the parts of the state.
    sums: Mapping[str, int]  # Checksums by part; missing in the oldest checkpoints.
    sum_method: str  # How the checksums were computed.
    unreported: dict[str, Any]


def custom_metadata(
    sums: Mapping[str, int], unreported: Mapping[str, Any], metrics: Mapping[str, float] | None
) -> dict[str, Any]:
    """Returns a checkpoint's metadata beyond Orbax's own, including their checksum."""
    checksum = _metadata_checksum(sums, unreported, metrics)
    return {WEIGHTED: sums, UNREPORTED: unreported, METADATA_CHECKSUM: checksum}


def _metadata_checksum(*content: Any) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())


def read_metadata(path: Path) -> Metadata:
    """Reads the metadata of the checkpoint in `path`, without reading arrays.

    Raises:
        DamagedError: its metadata are damaged.
    """
    with _without_other_hosts(), literal_path(path.parent) as parent:
        metadata = ocp.metadata(parent / path.name)
    # Orbax ignores invalid JSON and missing files.
    if metadata.commit_timestamp_nsecs is None or metadata.metadata is None:
        raise DamagedError(path, "its metadata are gone or not readable as JSON")
    custom = metadata.custom_metadata or {}
    method = WEIGHTED if WEIGHTED in custom else PLAIN
    sums, unreported = dict(custom.get(method, {})), custom.get(UNREPORTED, {})
    checksum = custom.get(METADATA_CHECKSUM)  # Missing in older checkpoints.
    if checksum not in (None, _metadata_checksum(sums, unreported, read_metrics(path))):
        raise DamagedError(path, "its metadata or metrics differ from their checksum")
    return Metadata(metadata.metadata, sums, method, unreported)


def read_arrays(path: Path, wanted: Any) -> Any:
    """Reads the arrays of the checkpoint in `path` with `wanted`'s shapes, types and shardings.

    Raises:
        DamagedError: they cannot be read.
    """
    with _without_other_hosts(), literal_path(path.parent) as parent:
        try:
            return ocp.load(parent / path.name, wanted)
        except Exception as error:  # Orbax raises many types.
            raise DamagedError(path, reason_of(error)) from error


def reason_of(error: Exception) -> str:
    """Returns why a checkpoint is damaged, or a library error's first sentence, truncated."""
    if isinstance(error, DamagedError):
        return error.reason
    text = str(error) or type(error).__name__
    return text.splitlines()[0].split(". ")[0][:MOST_CHARACTERS]


@contextmanager
def _without_other_hosts() -> Iterator[None]:
    """Makes Orbax read without waiting for other hosts, which may have failed on damage."""
    context = ocp.Context()
    context.multiprocessing_options.primary_host = jax.process_index()
    context.multiprocessing_options.active_processes = {jax.process_index()}
    with context:
        yield
