"""Checkpoints of the training state, through Orbax.

Saving is asynchronous and atomic: a checkpoint appears under its step number once it is complete,
so a run killed while saving resumes from the one before. Later damage is found by checksums, and
the newest undamaged checkpoint is used instead.
"""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from orbax.checkpoint import v1 as ocp

from mlp_core.checkpoints.checksums import named_arrays, state_sums, sums_on_host
from mlp_core.checkpoints.paths import literal_path, repair
from mlp_core.checkpoints.restore import (
    custom_metadata,
    load_newest,
    read_arrays,
    read_metadata,
    reason_of,
)
from mlp_core.checkpoints.train_state import TrainState
from mlp_core.config import CheckpointConfig
from mlp_core.errors import UserError
from mlp_core.nn.parameters import flatten
from mlp_core.nn.stack import unstack_blocks
from mlp_core.process.files import full_disk_told
from mlp_core.process.memory import collection_paused
from mlp_core.process.watchdog import waits_for
from mlp_core.weights.arrays import check_finite

# Replicas of an array share its writing; this is the smallest part of each, in bytes.
SMALLEST_PART = 2**20

_preservation = ocp.training.preservation_policies


class _Save(NamedTuple):
    """A save in progress."""

    step: int
    begun: Future[Any]  # Orbax's handle, available once Orbax has its own copy of the state.


class Checkpoints:
    """The checkpoints of one run: the latest few and the best few. Call `load_newest` first."""

    def __init__(self, directory: Path, config: CheckpointConfig, best_metric: str):
        """`best_metric` names an evaluation metric for which higher is better."""
        self.directory = directory.absolute()  # One directory per step.
        self._config = config
        self._best_metric = best_metric
        self._checkpointer: ocp.training.Checkpointer | None = None
        self._save: _Save | None = None  # The last save, unless its outcome is known.
        self._thread = ThreadPoolExecutor(1, "save")
        self._has_failed = False
        self._is_read_back = False  # Whether the first save of this process was read back.
        self._unreadable_step: int | None = None
        self._resources = ExitStack()

    def load_newest(self, abstract_state: TrainState) -> TrainState | None:
        """Restores the newest undamaged checkpoint, or returns None if there is no checkpoint.

        Prints which one it is. Damaged ones are reported and set aside.

        Args:
          abstract_state: the shapes and shardings wanted.

        Raises:
            UserError: there are checkpoints, but all are damaged or of another model.
        """
        state = load_newest(self.directory, self._best_metric, abstract_state)
        self._checkpointer = self._open()  # Orbax fails on some kinds of damage.
        return state

    @property
    def latest_step(self) -> int | None:
        """Returns the step of the newest checkpoint, including one being saved."""
        steps = {checkpoint.step for checkpoint in self._kept()}
        return max(steps - {self._unreadable_step}, default=None)

    def best_step(self) -> int | None:
        """Returns the step of the checkpoint with the best metric; the later one on ties.

        None if the best are not kept. Waits for a save in progress.
        """
        if not self._config.keep_best:
            return None
        self.wait()
        scored = [c for c in self._kept() if c.metrics]
        best = max(scored, key=lambda c: (c.metrics[self._best_metric], c.step), default=None)
        return None if best is None else best.step

    def would_be_best(self, metrics: dict[str, float]) -> bool:
        """Whether a checkpoint with these metrics would be better than all that are kept."""
        kept = (c.metrics[self._best_metric] for c in self._kept() if c.metrics)
        best = max(kept, default=-math.inf)
        return self._config.keep_best > 0 and metrics[self._best_metric] > best

    def path(self, step: int) -> Path:
        """Returns the directory of the checkpoint of `step`."""
        return self.directory / str(step)

    def unreported(self, step: int) -> dict[str, Any]:
        """Returns the `unreported` passed to `save`; empty if `step` has no checkpoint."""
        return read_metadata(self.path(step)).unreported if self.path(step).is_dir() else {}

    def save(
        self,
        step: int,
        state: TrainState,
        metrics: dict[str, float] | None,
        unreported: dict[str, Any],
    ) -> None:
        """Starts to save `state`, which may be donated as soon as this returns.

        Args:
          step: its step.
          state: the state to save.
          metrics: those of an evaluation at this step, if there was one.
          unreported: see `RunLog.unreported`.

        Raises:
            UserError: this save or the previous one failed, for example because the disk is full.
        """
        self.wait()
        waits_for(f"the step before {self.path(step)}")
        if jax.default_backend() == "cpu" and jax.process_count() == 1:
            # A copy in memory is quick; checksums and Orbax's preparations then run in the thread.
            copy = jax.block_until_ready(_copy(state))
            begun = self._thread.submit(self._begin, step, copy, metrics, unreported)
        else:
            waits_for(f"{self.path(step)} to be begun")
            begun = Future()
            begun.set_result(self._begin(step, state, metrics, unreported))
        self._save = _Save(step, begun)

    def _begin(
        self,
        step: int,
        state: TrainState,
        metrics: dict[str, float] | None,
        unreported: dict[str, Any],
    ) -> Any:
        """Computes the checksums and returns Orbax's handle once Orbax has its own copy."""
        custom = custom_metadata(state_sums(state), unreported, metrics)
        # Orbax creates some 100,000 objects here.
        with self._failure_told(), collection_paused():
            return self._checkpointer.save_async(
                step, state, metrics=metrics, custom_metadata=custom
            )

    def _kept(self) -> Sequence[Any]:
        """Returns Orbax's list of checkpoints, including one being saved."""
        if self._save is not None:
            wait([self._save.begun])
        return self._checkpointer.checkpoints

    def check(self) -> None:
        """Reports a failed save without waiting.

        Raises:
            UserError: the last save failed.
        """
        is_begun = self._save is not None and self._save.begun.done()
        if is_begun and not self._checkpointer.is_saving_in_progress():
            self.wait()

    def wait(self) -> None:
        """Waits until everything is on disk.

        Raises:
            UserError: the last save failed, or the first one cannot be read back.
        """
        if self._save is None:
            return
        save, self._save = self._save, None
        waits_for(f"the writing of a checkpoint to {self.directory}")
        with self._failure_told():
            save.begun.result().result()  # Also ends the thread that Orbax starts for each save.
            self._checkpointer.wait()
        if not self._is_read_back and jax.process_index() == 0:
            self._read_back(save.step)
        self._is_read_back = True

    def _read_back(self, step: int) -> None:
        """Reads back the metadata of a new checkpoint, so that a broken save is found early."""
        try:
            read_metadata(self.path(step))
        except Exception as error:  # Orbax raises many types.
            self._has_failed, self._unreadable_step = True, step
            raise UserError(
                f"{self.path(step)}: this checkpoint was saved and cannot be read back "
                f"({reason_of(error)}); training ends, name another --workdir."
            ) from error

    def close(self) -> None:
        """Waits until everything is on disk, and ends Orbax's threads.

        Raises:
            UserError: the last save failed and this has not been reported yet.
        """
        self._thread.shutdown()
        if self._checkpointer is not None and not self._has_failed:
            self.wait()
            with self._failure_told():
                self._checkpointer.close()
            self._resources.close()  # Last, as Orbax's threads use the directory.

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
        # Otherwise hosts synchronize through their devices, sometimes in a thread, where this
        # collides with the collectives of training.
        flags.FLAGS["experimental_orbax_use_distributed_barrier"].value = True
        context = ocp.Context()
        context.array.saving.min_slice_bytes_for_replica_parallel = SMALLEST_PART
        with self._failure_told():
            self.directory.mkdir(parents=True, exist_ok=True)
            return ocp.training.Checkpointer(
                self._resources.enter_context(literal_path(self.directory)),
                context=context,
                save_decision_policy=ocp.training.save_decision_policies.FixedIntervalPolicy(1),
                preservation_policy=_preservation.AnyPreservationPolicy(policies),
                cleanup_tmp_directories=True,
            )

    @contextmanager
    def _failure_told(self) -> Iterator[None]:
        """Converts Orbax's write errors to a one-sentence UserError."""
        try:
            with full_disk_told(self.directory):
                yield
        except Exception as error:  # Orbax raises many types.
            self._has_failed = True
            if isinstance(error, UserError):
                raise
            raise UserError(
                f"{self.directory}: checkpoints cannot be saved there ({reason_of(error)})."
            ) from error


@jax.jit
def _copy(state: TrainState) -> TrainState:
    return jax.tree.map(jnp.copy, state)


class SavedParams:
    """The parameters in one checkpoint, without the rest of the training state.

    They are the ones that training evaluates: the average if one is kept. Blocks are named
    separately, even if they were trained stacked.
    """

    def __init__(self, directory: Path):
        """Reads names and shapes only.

        Raises:
            UserError: `directory` is not a complete checkpoint of this project.
        """
        self._directory = directory.absolute()
        try:
            repair(self._directory)
            metadata = read_metadata(self._directory)
            self._state, self._metadata = dict(metadata.tree), metadata
            self._field = "params" if self._state["ema_params"] is None else "ema_params"
            abstract = jax.tree.map(
                lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), self._state[self._field]
            )
            self._abstract = flatten(unstack_blocks(abstract))
        except Exception as error:  # Orbax raises many types.
            raise self._damaged(reason_of(error)) from error

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns shapes by parameter name."""
        return {name: tuple(leaf.shape) for name, leaf in self._abstract.items()}

    def read(self) -> dict[str, np.ndarray]:
        """Reads the arrays by parameter name, on the host.

        Raises:
            UserError: they cannot be read, differ from what was saved, or are not finite.
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
            tree = read_arrays(self._directory, wanted)[self._field]
        except Exception as error:
            raise self._damaged(reason_of(error)) from error
        self._check_sum(tree)
        arrays = flatten(unstack_blocks(tree))
        for name, array in arrays.items():
            check_finite(self._directory, name, array)
        return arrays

    def _check_sum(self, tree: Any) -> None:
        saved_sum = self._metadata.sums.get(self._field)
        if saved_sum is not None:
            # The checksums of stacked blocks are those of the stacked arrays.
            parts = {self._field: named_arrays(tree)}
            if sums_on_host(parts, self._metadata.sum_method)[self._field] != saved_sum:
                raise self._damaged(f"{self._field} are other numbers than were saved")

    def _damaged(self, reason: str) -> UserError:
        return UserError(
            f"{self._directory}: no whole checkpoint of this project ({reason}); the folder of "
            "another one can be named in its place."
        )
