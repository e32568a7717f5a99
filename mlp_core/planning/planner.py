"""Compiles the programs of a config, changed in one way or another, for some devices."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
from ml_collections import ConfigDict

from mlp_core.distributed.mesh import make_mesh
from mlp_core.errors import UserError
from mlp_core.planning.chips import Chip
from mlp_core.planning.planned_run import PlannedRun
from mlp_core.planning.step_cost import StepCost, compile_step
from mlp_core.runs.grid import Point, at_point
from mlp_core.train.loop import check_batch_sizes
from mlp_core.train.programs import make_programs

TRAIN, EVALUATION = "train", "evaluation"
STEPS = (TRAIN, EVALUATION)


@dataclasses.dataclass(frozen=True)
class Trial:
    """What came of compiling a config with some of its fields changed."""

    changes: Point  # Field: value.
    run: PlannedRun | None = None
    costs: Mapping[str, StepCost] = dataclasses.field(default_factory=dict)  # Of `STEPS`.
    problem: str = ""  # Why it cannot be a run; then there is nothing else.

    @property
    def fits(self) -> bool:
        """Whether all that was compiled finds room."""
        return bool(self.costs) and all(cost.fits for cost in self.costs.values())


@dataclasses.dataclass(frozen=True)
class Planner:
    """Compiles changed copies of a config.

    Args:
      config: the experiment.
      planned_run: the function of that name of the package that serves it.
      num_examples: to train on; None for what the data set has.
      devices: to compile for.
      chip: what they are, if they are TPUs that need not be here.
      steps: those of `STEPS` to compile.
    """

    config: ConfigDict
    planned_run: Callable[[ConfigDict, int | None, str], PlannedRun]
    num_examples: int | None
    devices: Sequence[jax.Device]
    chip: Chip | None
    steps: Sequence[str] = STEPS

    def compiled(self, changes: Mapping[str, Any] | None = None) -> Trial:
        """The steps of the config with `changes`.

        Raises:
            UserError: it cannot be a run on these devices.
        """
        config = at_point(self.config, changes or {})
        run = self.planned_run(config, self.num_examples, self.devices[0].platform)
        mesh = make_mesh(run.settings.sharding.model_parallel, self.devices)
        check_batch_sizes(run.settings, mesh)
        programs = make_programs(run.task, run.settings, run.plan(), mesh)
        state = programs.abstract_state
        of_steps = {
            TRAIN: (programs.train_step, (state, programs.numbers, run.train_batch(mesh))),
            EVALUATION: (programs.eval_step, (state.eval_params, run.eval_batch(mesh))),
        }
        costs = {
            name: compile_step(*of_steps[name], mesh.size, self.memory_limit, self.chip)
            for name in self.steps
        }
        return Trial(dict(changes or {}), run, costs)

    def tried(self, changes: Mapping[str, Any]) -> Trial:
        """The same, with the problem told in place of raising it."""
        try:
            return self.compiled(changes)
        except UserError as error:
            return Trial(dict(changes), problem=str(error))

    @property
    def memory_limit(self) -> float | None:
        """Bytes that a program may have on a device; None where that is not known."""
        if self.chip:
            return self.chip.hbm_bytes
        return (self.devices[0].memory_stats() or {}).get("bytes_limit")


def remedies(planner: Planner, trial: Trial) -> Iterator[Trial]:
    """Changes that might make room for a training step, tried one after the other.

    Each alone: what is recomputed, the state split over devices, more micro-batches until they are
    enough. Where none is enough, together.
    """
    planner = dataclasses.replace(planner, steps=(TRAIN,))
    train, layout = trial.run.settings.train, trial.run.settings.sharding.layout
    single = [{"train.remat": remat} for remat in ("dots", "blocks") if train.remat == "none"]
    if "fsdp" not in layout:
        split = {"replicated": "fsdp", "tensor": "fsdp+tensor"}[layout]
        single.append({"sharding.layout": split})
    is_enough = False
    for changes in single:
        attempt = planner.tried(changes)
        is_enough |= attempt.fits
        yield attempt
    for attempt in _micro_batches(planner, {}, train.grad_accum_steps):
        is_enough |= attempt.fits
        yield attempt
    if single and not is_enough:
        together = {field: value for changes in single for field, value in changes.items()}
        attempt = planner.tried(together)
        yield attempt
        if not attempt.fits:
            yield from _micro_batches(planner, together, train.grad_accum_steps)


def _micro_batches(planner: Planner, changes: Point, steps: int) -> Iterator[Trial]:
    """`changes` with twice as many micro-batches, and so on, until there is room."""
    while True:
        steps *= 2
        attempt = planner.tried(changes | {"train.grad_accum_steps": steps})
        if attempt.problem:  # The batch cannot be split any further.
            return
        yield attempt
        if attempt.fits:
            return
