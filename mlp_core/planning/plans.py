"""Plans told: of one config, with what makes it fit where it does not, or of many variants."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
from ml_collections import ConfigDict

from mlp_core.errors import UserError
from mlp_core.planning.chips import HERE, check_topology, compiler_version, open_topology
from mlp_core.planning.planned_run import PlannedRun
from mlp_core.planning.planner import STEPS, TRAIN, Planner, Trial, remedies
from mlp_core.planning.report import (
    Target,
    describe,
    figures,
    heading,
    remedy_line,
    table_head,
    table_row,
)
from mlp_core.process.console import say
from mlp_core.runs.grid import parse_grid


def open_planner(
    config: ConfigDict,
    planned_run: Callable[[ConfigDict, int | None, str], PlannedRun],
    num_examples: int | None,
    topology: str,
    steps: Sequence[str],
) -> tuple[Planner, Target]:
    """What plans runs on the devices of `topology`; see `Planner`.

    Raises:
        UserError: there is no such topology or step.
    """
    if not steps:
        raise UserError(f"--steps: name some of {', '.join(STEPS)}.")
    for step in steps:
        if step not in STEPS:
            raise UserError(f"--steps: there is no step {step!r}; choose from {', '.join(STEPS)}.")
    check_topology(topology)
    if topology != "gpu":  # A TPU or GPU of this machine is not opened.
        jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_compilation_cache", False)  # It cannot keep programs for TPUs.
    devices, chip = open_topology(topology)
    planner = Planner(config, planned_run, num_examples, devices, chip, steps)
    compiler = f"JAX {jax.__version__}" if topology in HERE else compiler_version()
    kind = devices[0].device_kind
    return planner, Target(topology, len(devices), kind, compiler, chip, planner.memory_limit)


def plan(planner: Planner, target: Target) -> dict[str, Any]:
    """Tells the plan of the config as it is; returns the figures, fit for JSON.

    Raises:
        UserError: it cannot be a run on these devices.
    """
    say(heading(target))  # At once: compiling may take minutes.
    trial = planner.compiled()
    say(describe(trial, target))
    told = _target_figures(target) | figures(trial, target)
    if TRAIN in trial.costs and not trial.costs[TRAIN].fits:
        told["remedies"] = _tell_remedies(planner, trial, target)
    return told


def sweep(planner: Planner, target: Target, entries: Sequence[str]) -> dict[str, Any]:
    """Tells a table for each step, of all combinations of values; returns the figures.

    Raises:
        UserError: an entry cannot be understood.
    """
    points = parse_grid(planner.config, entries, flag="--sweep")
    say(heading(target))
    trials: list[Trial] = []
    for step in planner.steps:
        say(f"\n{table_head(points[0], step, 'examples', target)}")
        only = dataclasses.replace(planner, steps=[step])
        for point in points:
            trials.append(only.tried(point))
            say(table_row(trials[-1], step, target))
    return _target_figures(target) | {"trials": [figures(trial, target) for trial in trials]}


def _tell_remedies(planner: Planner, trial: Trial, target: Target) -> list[dict[str, Any]]:
    """What makes a training step fit, tried and told as it comes."""
    say("\nIt does not fit. What would:")
    told = []
    for attempt in remedies(planner, trial):
        told.append(figures(attempt, target))
        say(remedy_line(attempt, target))
    return told


def _target_figures(target: Target) -> dict[str, Any]:
    chip = target.chip and dataclasses.asdict(target.chip)
    return dataclasses.asdict(target) | {"chip": chip, "jax": jax.__version__}
