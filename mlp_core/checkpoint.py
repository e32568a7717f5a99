"""Checkpoints of the training state, through Orbax.

Saving is asynchronous and atomic: a checkpoint appears under its step number when it is whole,
so a run that is killed while saving goes on from the one before.
"""

import functools
import math
from pathlib import Path

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from mlp_core.config import CheckpointConfig
from mlp_core.errors import UserError
from mlp_core.parameters import flatten
from mlp_core.stacked_blocks import has_stacks, in_layout_of, unstack_blocks
from mlp_core.train_step import TrainState

_preservation = ocp.training.preservation_policies


class Checkpoints:
    """The checkpoints of one run: the latest few and the best few."""

    def __init__(self, directory: Path, config: CheckpointConfig, best_metric: str):
        """`best_metric` names the evaluation metric of which a larger value is better."""
        self._best_metric = best_metric
        self._keeps_best = config.keep_best > 0
        policies = [_preservation.LatestN(config.keep_latest)]
        if config.keep_best:
            policies.append(
                _preservation.BestN(
                    get_metric_fn=lambda metrics: metrics[best_metric],
                    n=config.keep_best,
                    keep_checkpoints_without_metrics=False,
                )
            )
        self._checkpointer = ocp.training.Checkpointer(
            directory.absolute(),
            save_decision_policy=ocp.training.save_decision_policies.FixedIntervalPolicy(1),
            preservation_policy=_preservation.AnyPreservationPolicy(policies),
            cleanup_tmp_directories=True,
        )

    @property
    def directory(self) -> Path:
        """Where the checkpoints lie, one folder a step."""
        return Path(self._checkpointer.directory)

    @property
    def latest_step(self) -> int | None:
        """The step of the newest whole checkpoint."""
        latest = self._checkpointer.latest
        return None if latest is None else latest.step

    def best_step(self) -> int | None:
        """The step of the checkpoint with the best metric, the later one of equals.

        None where the best are not kept. Waits for a save that is under way.
        """
        if not self._keeps_best:
            return None
        self._checkpointer.wait()
        scored = [c for c in self._checkpointer.checkpoints if c.metrics]
        best = max(scored, key=lambda c: (c.metrics[self._best_metric], c.step), default=None)
        return None if best is None else best.step

    def would_be_best(self, metrics: dict[str, float]) -> bool:
        """Whether a checkpoint with these metrics would be better than all that are kept."""
        kept = [c.metrics[self._best_metric] for c in self._checkpointer.checkpoints if c.metrics]
        return self._keeps_best and metrics[self._best_metric] > max(kept, default=-math.inf)

    def path(self, step: int) -> Path:
        """The folder of the checkpoint of `step`."""
        return self.directory / str(step)

    def save(self, step: int, state: TrainState, metrics: dict[str, float] | None) -> None:
        """Starts to save `state`; `metrics` are those of an evaluation at this very step."""
        self._checkpointer.save_async(step, state, metrics=metrics)

    def load(self, step: int, abstract_state: TrainState) -> TrainState:
        """Reads a checkpoint into the shapes and shardings of `abstract_state`.

        Blocks may be stacked in the one and have names of their own in the other.

        Raises:
            UserError: the checkpoint holds something else.
        """
        try:
            saved = self._checkpointer.metadata(step).metadata
            state = self._checkpointer.load(step, in_layout_of(saved["params"], abstract_state))
            return _in_layout_of(abstract_state, state)
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise UserError(
                f"{self.path(step)}: this checkpoint is damaged or of another model (--debug tells "
                "more); move it away to go on from an earlier one."
            ) from error

    def close(self) -> None:
        """Waits until everything is on disk."""
        self._checkpointer.close()


def _in_layout_of(abstract_state: TrainState, state: TrainState) -> TrainState:
    """`state` with blocks stacked as in `abstract_state`, which has its shardings."""
    if has_stacks(abstract_state.params) == has_stacks(state.params):
        return state
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract_state)
    convert = functools.partial(in_layout_of, abstract_state)
    return jax.jit(convert, out_shardings=shardings)(state)


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
            self._state = dict(ocp.metadata(self._directory).metadata)
            self._field = "params" if self._state["ema_params"] is None else "ema_params"
            abstract = jax.tree.map(
                lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), self._state[self._field]
            )
            self._abstract = flatten(unstack_blocks(abstract))
        except Exception as error:  # Orbax raises what it meets.
            raise self._damaged(error) from error

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes by parameter name."""
        return {name: tuple(leaf.shape) for name, leaf in self._abstract.items()}

    def read(self) -> dict[str, np.ndarray]:
        """The arrays by parameter name, on the host.

        Raises:
            UserError: they cannot be read.
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
            return flatten(unstack_blocks(ocp.load(self._directory, wanted)[self._field]))
        except Exception as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> UserError:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        return UserError(f"{self._directory}: no whole checkpoint of this project ({reason}).")
