"""Trains several runs, each in its own directory and process.

The main process opens no device, as the processes of the runs could then not use it.
"""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from ml_collections import ConfigDict

from mlp_core.config import RunConfig, parse_config
from mlp_core.errors import MissingError, UserError, noted
from mlp_core.process.console import print_line
from mlp_core.process.files import read_json, write_whole
from mlp_core.process.subprocess import import_once, run_in_own_process
from mlp_core.run_folder.run_directory import RunFiles, read_results
from mlp_core.runs.grid import Point, at_point, earlier_folder_name, fields_of, folder_name
from mlp_core.urls import masked_values

AS_IT_IS = "as_it_is"  # Directory of a run at the point without values.
POINT = "point.json"  # In a run's directory: its fields and values, which the name may abbreviate.


class Experiment(Protocol):
    """A kind of experiment: a module with these names, imported in each run's process."""

    SETTINGS: type[RunConfig]

    def prepare(config: ConfigDict, workdir: Path) -> Any:
        """Checks the run of `config` in `workdir` and fetches what it needs."""

    def train(config: ConfigDict, workdir: Path) -> dict[str, float]:
        """Trains the run, resuming from what is in `workdir`."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One of the runs."""

    point: Point
    config: ConfigDict
    folder: Path

    def results(self) -> dict[str, float] | None:
        """Returns its last evaluation; None if it is unfinished or its files are damaged."""
        try:
            results = read_results(self.folder, self.config)
        except UserError:  # Training it again reports the error.
            return None
        metric = self.config.evaluation.best_metric
        return results if isinstance(results, dict) and metric in results else None


def runs_at(config: ConfigDict, points: Sequence[Point], folder: Path) -> list[Run]:
    """Returns the runs of `config` at each point, each in a directory named after its values."""
    return [Run(point, at_point(config, point), _folder(folder, point)) for point in points]


def _folder(parent: Path, point: Point) -> Path:
    """Returns the directory of a run; directories of earlier versions keep their name."""
    folder = parent / (folder_name(point) or AS_IT_IS)
    earlier = parent / (earlier_folder_name(point) or AS_IT_IS)
    is_earlier = RunFiles.of(earlier).config.exists() and not folder.exists()
    return earlier if is_earlier else folder


def fields_of_run(folder: Path) -> list[str]:
    """Returns the fields that distinguish a run from its siblings; empty for other runs.

    Raises:
        UserError: the file that names them cannot be read.
    """
    file = folder / POINT
    if not file.exists():  # A run of an earlier version.
        return fields_of(folder.name)
    try:
        return list(read_json(file))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{file}: not readable as JSON ({error}); delete it.") from error


def check_settings(name: str, settings_class: type[RunConfig], run: Run) -> None:
    """Checks the fields of a run's configuration.

    Raises:
        UserError: names the run and the field.
    """
    try:
        parse_config(settings_class, run.config)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None


def prepare_runs(to_prepare: Sequence[tuple[str, Callable, Run]]) -> None:
    """Checks runs against their devices, and fetches what they need.

    Args:
      to_prepare: for each run its name for messages, and `Experiment.prepare` of its kind.

    Raises:
        UserError: names the invalid run, or reports all missing files together.
    """
    if to_prepare:
        import_once({prepare.__module__ for _, prepare, _ in to_prepare})
        run_in_own_process(_prepare, to_prepare)


def _prepare(to_prepare: Sequence[tuple[str, Callable, Run]]) -> None:
    missing: list[str] = []
    for name, prepare, run in to_prepare:
        try:
            with noted(missing):
                prepare(run.config, run.folder)
        except UserError as error:
            raise UserError(f"{name}: {error}") from None
    if missing:
        raise MissingError("\n".join(dict.fromkeys(missing)))  # Often the same for all runs.


def remove_empty(folders: Iterable[Path]) -> None:
    """Removes the directories that a check has left empty."""
    for folder in folders:
        with contextlib.suppress(OSError):  # Not empty.
            folder.rmdir()


def train_run(train: Callable, run: Run, heading: str, failures: dict[Path, str]) -> None:
    """Trains a run to its end, or records in `failures`, by directory, why it failed.

    Args:
      train: `Experiment.train` of its kind.
      run: the run, which may already be finished.
      heading: printed first.
      failures: those so far.
    """
    if run.results() is not None:
        print_line(f"{heading} (finished before)")
        return
    print_line(f"\n{heading}")
    try:
        write_whole(run.folder / POINT, json.dumps(masked_values(run.point)) + "\n")
        run_in_own_process(train, run.config, run.folder)
    except UserError as error:
        failures[run.folder] = str(error)
        print_line(f"failed: {error}")
