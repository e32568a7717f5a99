"""Checkpoints of the training state, through Orbax.

Saving is asynchronous and atomic: a checkpoint appears under its step number when it is whole,
so a run that is killed while saving goes on from the one before. What is damaged later is found by
sums of bits, and the newest whole one is taken in its place.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags
from orbax.checkpoint import v1 as ocp

from mlp_core.checkpoint_reading import (
    SUMS,
    UNREPORTED,
    read_arrays,
    read_metadata,
    reason_of,
)
from mlp_core.checkpoint_sums import array_sum, state_sums
from mlp_core.config import CheckpointConfig
from mlp_core.errors import UserError
from mlp_core.full_disk import full_disk_told
from mlp_core.parameters import flatten
from mlp_core.saved_state import load_newest
from mlp_core.stacked_blocks import unstack_blocks
from mlp_core.stored_arrays import check_finite
from mlp_core.train_step import TrainState
from mlp_core.watchdog import waits_for

# Bytes of a copy's part, where copies of an array are written in parts by those who have them.
SMALLEST_PART = 2**20

_preservation = ocp.training.preservation_policies


class Checkpoints:
    """The checkpoints of one run: the latest few and the best few. `load_newest` comes first."""

    def __init__(self, directory: Path, config: CheckpointConfig, best_metric: str):
        """`best_metric` names the evaluation metric of which a larger value is better."""
        self.directory = directory.absolute()  # One folder a step.
        self._config = config
        self._best_metric = best_metric
        self._checkpointer: ocp.training.Checkpointer | None = None
        self._save: Any = None  # The last one, unless it is known how it went.
        self._has_failed = False

    def load_newest(self, abstract_state: TrainState) -> TrainState | None:
        """The state in the newest whole checkpoint, or None where there is no checkpoint.

        Says which it is. Damaged ones are told and set aside.

        Args:
          abstract_state: the shapes and shardings wanted.

        Raises:
            UserError: there are checkpoints, but none of them is whole and of this model.
        """
        state = load_newest(self.directory, self._best_metric, abstract_state)
        self._checkpointer = self._open()  # Orbax fails at some kinds of damage.
        return state

    @property
    def latest_step(self) -> int | None:
        """The step of the newest checkpoint, which may be one that is being saved."""
        latest = self._checkpointer.latest
        return None if latest is None else latest.step

    def best_step(self) -> int | None:
        """The step of the checkpoint with the best metric, the later one of equals.

        None where the best are not kept. Waits for a save that is under way.
        """
        if not self._config.keep_best:
            return None
        self.wait()
        scored = [c for c in self._checkpointer.checkpoints if c.metrics]
        best = max(scored, key=lambda c: (c.metrics[self._best_metric], c.step), default=None)
        return None if best is None else best.step

    def would_be_best(self, metrics: dict[str, float]) -> bool:
        """Whether a checkpoint with these metrics would be better than all that are kept."""
        kept = [c.metrics[self._best_metric] for c in self._checkpointer.checkpoints if c.metrics]
        best = max(kept, default=-math.inf)
        return self._config.keep_best > 0 and metrics[self._best_metric] > best

    def path(self, step: int) -> Path:
        """The folder of the checkpoint of `step`."""
        return self.directory / str(step)

    def unreported(self, step: int) -> dict[str, Any]:
        """What `save` was given besides; nothing where there is no checkpoint of `step`."""
        return read_metadata(self.path(step)).unreported if self.path(step).is_dir() else {}

    def save(
        self,
        step: int,
        state: TrainState,
        metrics: dict[str, float] | None,
        unreported: dict[str, Any],
    ) -> None:
        """Starts to save `state`.

        Args:
          step: its step.
          state: what is saved.
          metrics: those of an evaluation at this very step, if there was one.
          unreported: see `RunLog.unreported`.

        Raises:
            UserError: the disk is full, say; now or at the save before.
        """
        waits_for(f"the step before {self.path(step)}, and the sums of its arrays")
        custom = {SUMS: state_sums(state), UNREPORTED: unreported}
        self.wait()
        waits_for(f"{self.path(step)} to be begun")
        with self._failure_told():
            self._save = self._checkpointer.save_async(
                step, state, metrics=metrics, custom_metadata=custom
            )

    def check(self) -> None:
        """Waits for nothing.

        Raises:
            UserError: the last save has failed.
        """
        if not self._checkpointer.is_saving_in_progress():
            self.wait()

    def wait(self) -> None:
        """Waits until everything is on disk.

        Raises:
            UserError: the last save has failed.
        """
        save, self._save = self._save, None
        if save is not None:
            waits_for(f"the writing of a checkpoint to {self.directory}")
            with self._failure_told():
                save.result()  # Which also ends a thread that Orbax has for each save.
                self._checkpointer.wait()

    def close(self) -> None:
        """Waits until everything is on disk, and ends Orbax's threads.

        Raises:
            UserError: the last save has failed, and it has not been told yet.
        """
        if self._checkpointer is not None and not self._has_failed:
            self.wait()
            with self._failure_told():
                self._checkpointer.close()

    def _open(self) -> ocp.training.Checkpointer:
        policies = [_preservation.LatestN(self._config.keep_latest)]
        if self._config.keep_best:
            policies.append(
                _preservation.BestN(
                    get_metric_fn=lambda metrics: metrics[self._best_metric],
                    n=self._config.keep_best,
                    keep_checkpoints_without_metrics=False,
                )
            )
        # Else hosts wait for each other through their devices, at times in a thread, where that
        # meets what training sends.
        flags.FLAGS["experimental_orbax_use_distributed_barrier"].value = True
        context = ocp.Context()
        context.array.saving.min_slice_bytes_for_replica_parallel = SMALLEST_PART
        with self._failure_told():
            return ocp.training.Checkpointer(
                self.directory,
                context=context,
                save_decision_policy=ocp.training.save_decision_policies.FixedIntervalPolicy(1),
                preservation_policy=_preservation.AnyPreservationPolicy(policies),
                cleanup_tmp_directories=True,
            )

    @contextmanager
    def _failure_told(self) -> Iterator[None]:
        """One sentence for what Orbax raises where it writes."""
        try:
            with full_disk_told(self.directory):
                yield
        except Exception as error:  # Orbax raises what it meets.
            self._has_failed = True
            if isinstance(error, UserError):
                raise
            raise UserError(
                f"{self.directory}: checkpoints cannot be saved there ({reason_of(error)})."
            ) from error


class SavedParams:
    """The parameters in one checkpoint, without the rest of the training state.

    They are those that training evaluates: the average where one is kept. Each block has names of
    its own, also where they were trained stacked.
    """

    def __init__(self, directory: Path):
        """Reads names and shapes only.

        Raises:
            UserError: `directory` is no whole checkpoint of this project.
        """
        self._directory = directory.absolute()
        try:
            metadata = read_metadata(self._directory)
            self._state, self._sums = dict(metadata.tree), metadata.sums
            self._field = "params" if self._state["ema_params"] is None else "ema_params"
            abstract = jax.tree.map(
                lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), self._state[self._field]
            )
            self._abstract = flatten(unstack_blocks(abstract))
        except Exception as error:  # Orbax raises what it meets.
            raise self._damaged(reason_of(error)) from error

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes by parameter name."""
        return {name: tuple(leaf.shape) for name, leaf in self._abstract.items()}

    def read(self) -> dict[str, np.ndarray]:
        """The arrays by parameter name, on the host.

        Raises:
            UserError: they cannot be read, are not those that were saved, or are not finite.
        """
        wanted = {
            field: jax.tree.map(
                lambda leaf, field=field: (
                    np.empty(leaf.shape, leaf.dtype) if field == self._field else ocp.PLACEHOLDER
                ),
                tree,
            )
            for field, tree in self._state.items()
        }
        try:
            arrays = flatten(unstack_blocks(read_arrays(self._directory, wanted)[self._field]))
        except Exception as error:
            raise self._damaged(reason_of(error)) from error
        saved_sum = self._sums.get(self._field)
        if saved_sum is not None and saved_sum != array_sum(arrays.values()):
            raise self._damaged(f"{self._field} are other numbers than were saved")
        for name, array in arrays.items():
            check_finite(self._directory, name, array)
        return arrays

    def _damaged(self, reason: str) -> UserError:
        return UserError(
            f"{self._directory}: no whole checkpoint of this project ({reason}); the folder of "
            "another one can be named in its place."
        )
