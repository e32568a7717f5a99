"""A sweep: one run for each point of a grid, then the best setting on the whole training set.

The protocol of ViT and MLP-Mixer: members train on a part of the training set and are compared at
their end by `config.evaluation.best_metric` on the held-out part. The final run has no held-out
part, so nothing is selected on its test results. If the members differ only in their seeds, there
is no final run: the median and the spread are reported.

The state of a sweep is kept in its directories.
"""

import copy
import dataclasses
import itertools
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mlp_core.config import parse_config
from mlp_core.errors import UserError
from mlp_core.process.console import in_one_line, print_line
from mlp_core.process.files import write_whole
from mlp_core.run_folder.metrics import in_words, spread_in_words
from mlp_core.run_folder.run_directory import (
    RunFiles,
    check_run_directory,
    check_writable,
    differences_but_in_data,
    has_checkpoint,
    locked_on_this_host,
    read_config,
)
from mlp_core.runs.grid import at_point, describe, parse_grid, value_at
from mlp_core.runs.several import (
    Experiment,
    Run,
    check_settings,
    fields_of_run,
    prepare_runs,
    remove_empty,
    runs_at,
    train_run,
)
from mlp_core.runs.sweep_plot import plot
from mlp_core.runs.tables import Outcome, best_of, differ_in_seed_only, sweep_table

FINAL = "best"  # Directory of the final run.
TABLE, PLOT = "sweep.md", "sweep.png"


def run_sweep(
    experiment: Experiment,
    config: ConfigDict,
    grid: Sequence[str],
    workdir: Path,
    dry_run: bool = False,
) -> bool:
    """Runs the sweep in `workdir`, resuming existing runs; returns whether no run failed.

    Writes `sweep.md` and `sweep.png` after each member. A failed member is reported and the others
    continue; run the sweep again to retry it. Finished members of other grids in `workdir` count.

    Args:
      experiment: its kind.
      config: the experiment.
      grid: entries "FIELD=VALUE,VALUE,..."; if empty, those of `config.sweep.grid`.
      workdir: directory of the sweep, with one for each member and `best` for the final run.
      dry_run: checks all runs and fetches what they need, without training.

    Raises:
        UserError: the configuration of a run is wrong, its data or weights are missing, or
          `workdir` is the directory of a run.
    """
    settings = parse_config(experiment.SETTINGS, config)
    members = runs_at(config, parse_grid(config, grid or settings.sweep.grid), workdir)
    finals = [final_run(member, workdir) for member in members if settings.sweep.train_split]
    if differ_in_seed_only([member.point for member in members]):
        finals = []
    for run in members + finals:
        check_settings(f"--grid, {describe(run.point)}", experiment.SETTINGS, run)
    check_writable(workdir)
    if has_checkpoint(workdir):
        raise UserError(f"--workdir={workdir}: a run lies there; name another folder for a sweep.")
    with locked_on_this_host(workdir):
        others = _members_of_other_grids(config, members, workdir)
        unfinished = [run for run in members if run.results() is None]
        # A final run with a checkpoint was checked before, perhaps for another best value.
        new_finals = [] if has_checkpoint(workdir / FINAL) else finals
        new = unfinished + new_finals
        # Includes finished members: their data must still match those of later members.
        to_prepare = members + others + new_finals if new else []
        prepare_runs([(describe(run.point), experiment.prepare, run) for run in to_prepare])
        if dry_run:
            remove_empty(run.folder for run in new)
            print_line(
                f"Dry run: {len(members)} members, {len(unfinished)} of them to train; "
                "configurations, data and weights are in order. Nothing was trained."
            )
            return True
        return _run_all(experiment.train, members, others, workdir)


def final_run(member: Run, workdir: Path) -> Run:
    """Returns a run of a member's settings on `config.sweep.train_split`, without held-out split.

    Raises:
        UserError: no other split is evaluated.
    """
    config = copy.deepcopy(member.config)
    chosen_by, metric = config.evaluation.best_metric.split("/", 1)
    splits = {name: part for name, part in config.data.eval_splits.items() if name != chosen_by}
    if not splits:
        raise UserError(
            f"config.data.eval_splits: {chosen_by!r} is the only split, and the final run of a "
            "sweep leaves it out (config.evaluation.best_metric chooses by it); add a split, or "
            "set --config.sweep.train_split=None for no final run."
        )
    with config.unlocked():
        config.data.eval_splits = ConfigDict(splits)
    config.data.train_split = config.sweep.train_split
    config.evaluation.best_metric = f"{next(iter(splits))}/{metric}"
    config.checkpoint.keep_best = 0
    return Run(member.point, config, workdir / FINAL)


def _members_of_other_grids(config: ConfigDict, members: list[Run], workdir: Path) -> list[Run]:
    """Returns the members of earlier sweeps in `workdir`.

    Raises:
        UserError: such a member has another configuration than this sweep.
    """
    found = []
    for folder in sorted(set(workdir.iterdir()) - {member.folder for member in members}):
        if "=" in folder.name and RunFiles.of(folder).config.exists():
            try:
                fields = fields_of_run(folder)
                values = read_config(folder)
                point = {field: value_at(values, field) for field in fields}
                run = Run(point, at_point(config, point), folder)
            except (UserError, KeyError, TypeError) as error:
                print_line(f"Note: {folder} is left out, for it is no member of a sweep ({error})")
                continue
            if fields:
                check_run_directory(folder, run.config)
                found.append(run)
    return found


def _run_all(train: Callable, members: list[Run], others: list[Run], workdir: Path) -> bool:
    """Trains the unfinished runs, including the final one; returns whether no run failed."""
    failures: dict[Path, str] = {}
    runs = _in_order(members + others)
    for i, member in enumerate(members, 1):
        heading = f"member {i} of {len(members)}: {describe(member.point)}"
        train_run(train, member, heading, failures)
        _write_report(runs, None, failures, workdir)
    final = None
    best = best_of(outcomes := _outcomes(runs, failures))
    if best is not None:
        winner = runs[outcomes.index(best)]
        if differ_in_seed_only([run.point for run in runs]):
            print_line("\nThere is no final run: among seeds there is nothing to choose.")
        elif not winner.config.sweep.train_split:
            print_line(
                "\nThere is no final run: config.sweep.train_split names no larger training set."
            )
        else:
            final = final_run(winner, workdir)
            _move_another_aside(final)
            where = final.config.data.train_split
            train_run(train, final, f"final run, on {where}: {describe(final.point)}", failures)
    print_line(f"\n{_write_report(runs, final, failures, workdir)}")
    print_line(f"Table  {workdir / TABLE}\nPlot   {workdir / PLOT}")
    return not failures


def _move_another_aside(final: Run) -> None:
    """Renames the directory of a final run of another setting."""
    if differences_but_in_data(final.folder, final.config):
        names = (final.folder.with_name(f"{FINAL}_before_{i}") for i in itertools.count(1))
        aside = next(name for name in names if not name.exists())
        final.folder.rename(aside)
        print_line(f"\nThe final run is another one now; the former is kept as {aside}")


def _in_order(runs: list[Run]) -> list[Run]:
    """Sorts the runs by their values, and gives each the fields of all."""
    fields = list(dict.fromkeys(field for run in runs for field in run.point))
    whole = [
        dataclasses.replace(run, point={field: value_at(run.config, field) for field in fields})
        for run in runs
    ]
    return sorted(whole, key=lambda run: [_place(value) for value in run.point.values()])


def _place(value: Any) -> tuple:
    """Sort key: None last, and texts by the numbers in them: train[:5%] before train[:10%]."""
    if isinstance(value, str):
        value = [int(part) if part.isdecimal() else part for part in re.split("([0-9]+)", value)]
    return value is None, value


def _outcomes(runs: list[Run], failures: dict[Path, str]) -> list[Outcome]:
    outcomes = []
    for run in runs:
        score = (run.results() or {}).get(run.config.evaluation.best_metric, math.nan)
        remark = failures.get(run.folder, "not finished")
        sound = math.isfinite(score)
        outcomes.append(Outcome(run.point, score if sound else None, "" if sound else remark))
    return outcomes


def _write_report(
    runs: list[Run], final: Run | None, failures: dict[Path, str], workdir: Path
) -> str:
    """Writes table and plot; returns the text of the table."""
    metric = runs[0].config.evaluation.best_metric
    outcomes = _outcomes(runs, failures)
    plot(outcomes, metric, workdir.name, workdir / PLOT)
    lines = [
        f"# Sweep {in_one_line(workdir.name)}",
        sweep_table(outcomes, metric),
        f"![{metric}]({PLOT})",
    ]
    finished = [results for run in runs if (results := run.results())]
    if final is not None:
        results = final.results()
        fate = failures.get(final.folder) if results is None else in_words(results)
        where, point = final.config.data.train_split, describe(final.point)
        lines.append(f"Final run, trained on `{where}` with {point}: {fate}")
    elif finished and differ_in_seed_only([run.point for run in runs]):
        lines.append(f"Median of {len(finished)} (lowest to highest): {spread_in_words(finished)}")
    elif (best := best_of(outcomes)) is not None:
        results = runs[outcomes.index(best)].results()
        lines.append(f"Best so far, {describe(best.point)}: {in_words(results)}")
    text = "\n\n".join(lines) + "\n"
    write_whole(workdir / TABLE, text)
    return text
