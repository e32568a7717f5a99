"""A comparison: several experiments, each trained at all points of a grid, in one table.

Nothing is selected or retrained; use `sweep` to select settings.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from mlp_core.errors import UserError
from mlp_core.process.console import print_line
from mlp_core.process.files import write_whole
from mlp_core.run_folder.run_directory import check_writable, has_checkpoint, locked_on_this_host
from mlp_core.runs.grid import describe, parse_grid, portable_name
from mlp_core.runs.several import (
    Experiment,
    Run,
    check_settings,
    prepare_runs,
    remove_empty,
    runs_at,
    train_run,
)
from mlp_core.runs.tables import Row, comparison_table

TABLE = "comparison.md"


@dataclasses.dataclass(frozen=True)
class Entry:
    """One of the compared experiments."""

    name: str
    experiment: Experiment
    config: ConfigDict

    def folder(self, workdir: Path) -> Path:
        """Returns the directory of its runs; directories of earlier versions keep their name."""
        earlier = workdir / self.name
        return earlier if earlier.is_dir() else workdir / portable_name(self.name)


@dataclasses.dataclass(frozen=True)
class EntryRun:
    """A run of one of the experiments."""

    entry: Entry
    run: Run

    @property
    def name(self) -> str:
        """A readable name, such as "mixer_digits, seed=1"."""
        return ", ".join(filter(None, [self.entry.name, describe(self.run.point)]))


def run_comparison(
    entries: Sequence[Entry], grid: Sequence[str], workdir: Path, dry_run: bool = False
) -> bool:
    """Trains all entries in `workdir`, resuming existing runs; returns whether no run failed.

    All entries are trained at the first grid point, then at the second, so that an interrupted
    comparison is balanced. Writes `comparison.md` after each run. A failed run is reported and the
    others continue; run the comparison again to retry it.

    Args:
      entries: the experiments, whose names differ.
      grid: entries "FIELD=VALUE,VALUE,..."; if empty, each experiment is trained once, unchanged.
      workdir: directory of the comparison, with a subdirectory for each experiment.
      dry_run: checks all runs and fetches what they need, without training.

    Raises:
        UserError: the configuration of a run is wrong, its data or weights are missing, or a
          single run already occupies a directory meant for several.
    """
    by_entry = [_runs_of(entry, grid, workdir) for entry in entries]
    runs = list(itertools.chain(*by_entry))
    for each in runs:
        check_settings(each.name, each.entry.experiment.SETTINGS, each.run)
    check_writable(workdir)
    for folder in (workdir, *(entry.folder(workdir) for entry in entries)):
        if has_checkpoint(folder):
            raise UserError(f"--workdir: a run lies in {folder}; name another for a comparison.")
    with locked_on_this_host(workdir):
        new = [each for each in runs if each.run.results() is None]
        # Includes finished runs: their data must still match those of later runs.
        to_prepare = runs if new else []
        prepare_runs([(each.name, each.entry.experiment.prepare, each.run) for each in to_prepare])
        if dry_run:
            remove_empty([each.run.folder for each in new])
            remove_empty(entry.folder(workdir) for entry in entries)
            print_line(
                f"Dry run: {len(runs)} runs, {len(new)} of them to train; configurations, data and "
                "weights are in order. Nothing was trained."
            )
            return True
        turns = itertools.zip_longest(*by_entry)
        return _run_all([each for turn in turns for each in turn if each], runs, workdir)


def _runs_of(entry: Entry, grid: Sequence[str], workdir: Path) -> list[EntryRun]:
    """Returns the runs of an experiment, in the order of the grid points."""
    try:
        points = parse_grid(entry.config, grid) if grid else [{}]
    except UserError as error:
        raise UserError(f"{entry.name}: {error}") from None
    return [EntryRun(entry, run) for run in runs_at(entry.config, points, entry.folder(workdir))]


def _run_all(in_turns: list[EntryRun], as_told: list[EntryRun], workdir: Path) -> bool:
    """Trains the unfinished runs; returns whether no run failed."""
    failures: dict[Path, str] = {}
    for i, each in enumerate(in_turns, 1):
        heading = f"run {i} of {len(in_turns)}: {each.name}"
        train_run(each.entry.experiment.train, each.run, heading, failures)
        text = comparison_table([_row(other, failures) for other in as_told]) + "\n"
        write_whole(workdir / TABLE, text)
    print_line(f"\n{text}\nTable  {workdir / TABLE}")
    return not failures


def _row(each: EntryRun, failures: Mapping[Path, str]) -> Row:
    folder = each.run.folder
    point = {"experiment": each.entry.name} | each.run.point
    return Row(point, folder, each.run.results(), failures.get(folder, "not finished"))
