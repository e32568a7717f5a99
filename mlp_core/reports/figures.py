"""Figures of runs: curves over training, and results over a field, with the spread over seeds."""

import json
import math
import statistics
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mlp_core.errors import UserError
from mlp_core.nn.parameters import flatten
from mlp_core.process.figure_files import LINE_STYLES, LINES, figure_text, new_figure, styled
from mlp_core.process.user_paths import user_path
from mlp_core.run_folder.metrics import PLAIN, read_metrics
from mlp_core.run_folder.run_directory import (
    NOT_OF_THE_RUN,
    RunFiles,
    read_config,
    read_finished_results,
)
from mlp_core.runs.sweep import FINAL

HEIGHT = 3.2  # Inches.
MOST_FIELDS = 4  # That a legend tells.
LABEL_LETTERS = 80  # In a line of a legend, which has room for as many.
LINE_INCHES = 0.14
DECADE = 10
SEED = "seed"
Folders = str | Path | Sequence[str | Path]
PLACES = ("data/data_dir", "init/mirror")  # Where things lie makes no other experiment.


@dataclass(frozen=True)
class Curves:
    """A run: its configuration by field, such as `schedule.peak_learning_rate`, and its reports."""

    folder: Path
    fields: Mapping[str, Any]
    records: Sequence[Mapping[str, float]]
    results: Mapping[str, float] | None  # None: it has not reached its end.

    def values(self, metric: str) -> dict[int, float]:
        """A metric by step, where it was a finite number."""
        return {
            record["step"]: record[metric]
            for record in self.records
            if math.isfinite(record.get(metric, math.nan))
        }

    def at_end(self, metric: str) -> float:
        """Its result, or the last value where a metric is measured in training only; NaN: none."""
        values = list(self.values(metric).values())
        result = (self.results or {}).get(metric, values[-1] if values else math.nan)
        return result if isinstance(result, int | float) else math.nan


def training_curves(folders: Folders, metric: str, over_examples: bool = False) -> Figure:
    """A metric over training; runs that differ in their seeds only are one line.

    The line is the median over seeds at each step, the band reaches from the lowest to the highest.
    They end, and the legend says so, with the seed that ends first.

    Args:
      folders: of runs, or of sweeps, which stand for all of their runs; or a single one.
      metric: such as "test/top1" or "train/loss".
      over_examples: whether the axis is examples seen, for runs with other batch sizes, not steps.

    Raises:
        UserError: a folder holds no run, or a run has no such metric.
    """
    runs = _open(folders, metric)
    for run in runs:
        if not run.values(metric):
            raise UserError(
                f"{run.folder}: {metric!r} was never a finite number in training; leave it out."
            )
    groups = _by_experiment(runs)
    with styled():
        figure = new_figure(HEIGHT)
        axes = figure.subplots()
        for i, (label, runs) in enumerate(groups.items()):
            batch = runs[0].fields["train.global_batch_size"] if over_examples else 1
            curves = [run.values(metric) for run in runs]
            _median_and_band(axes, curves, batch, label, _look(i), metric)
        axes.set(
            xlabel="examples" if over_examples else "steps", ylabel=figure_text(_axis_label(metric))
        )
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        _add_legend(figure, axes)
    return figure


def results_over(folders: Folders, field: str, metric: str) -> Figure:
    """The last value of a metric over a field, learning rates say, with the spread over seeds.

    Each run is a point; lines are medians over seeds, one for each choice of the other fields. The
    axis is logarithmic where the values span a decade. Runs that have not reached their end are
    left out, and the title says how many.

    Args:
      folders: see `training_curves`.
      field: a numeric one, such as "schedule.peak_learning_rate".
      metric: such as "test/top1".

    Raises:
        UserError: a folder holds no run, a run has no such metric or no such number, or none has
          reached its end.
    """
    found = _open(folders, metric)
    runs = [run for run in found if run.results is not None]
    if not runs:
        raise UserError(f"{found[0].folder}: this run has not reached its end, and no other has.")
    for run in runs:
        if field not in run.fields:
            raise UserError(
                f"{run.folder}: its configuration has no config.{field}; name a field as in "
                "--config.FIELD, such as schedule.peak_learning_rate."
            )
        if type(run.fields[field]) not in (int, float):
            raise UserError(
                f"{run.folder}: config.{field} is no number there; name a field that is, such as "
                "schedule.peak_learning_rate."
            )
        if not math.isfinite(run.at_end(metric)):
            raise UserError(f"{run.folder}: {metric!r} is no finite number there; leave it out.")
    with styled():
        figure = new_figure(HEIGHT)
        axes = figure.subplots()
        for i, (label, group) in enumerate(_by_experiment(runs, besides=(field,)).items()):
            _points_and_median(axes, group, field, metric, label, _look(i))
        values = [run.fields[field] for run in runs]
        if min(values) > 0 and max(values) >= DECADE * min(values):
            axes.set_xscale("log")
        axes.set(xlabel=figure_text(field), ylabel=figure_text(_axis_label(metric)))
        if len(runs) < len(found):
            left_out = f"without {len(found) - len(runs)} of {len(found)} runs"
            axes.set_title(f"{left_out}, which have not reached their end", fontsize="medium")
        axes.grid(alpha=0.3)
        _add_legend(figure, axes)
    return figure


def _look(line: int) -> dict[str, Any]:
    """Colour and style of a line, by its number."""
    return {"color": LINES[line % len(LINES)], "ls": LINE_STYLES[line % len(LINE_STYLES)]}


def _add_legend(figure: Figure, axes: Axes) -> None:
    """Inside where every label is short, else below, where the figure grows by what it takes."""
    handles, labels = axes.get_legend_handles_labels()
    if max(map(len, labels)) <= LABEL_LETTERS // 2:
        axes.legend()
        return
    labels = [textwrap.fill(label, LABEL_LETTERS) for label in labels]
    lines = sum(label.count("\n") + 1 for label in labels)
    figure.set_figheight(figure.get_figheight() + (lines + 1) * LINE_INCHES)
    figure.legend(handles, labels, loc="outside lower center")


def _open(folders: Folders, metric: str) -> list[Curves]:
    """The runs in these folders, all of which have the metric."""
    places = [folders] if isinstance(folders, str | Path) else folders
    runs = [run for folder in places for run in _runs_in(user_path(folder))]
    if not runs:
        raise UserError("name the folder of a run, or of a sweep.")
    for run in runs:
        told = [*run.records, run.results or {}]
        there = {name for record in told for name in record} - {"step"}
        if not there:
            raise UserError(f"{run.folder}: nothing was measured there yet; leave it out.")
        if metric not in there:
            raise UserError(
                f"{run.folder}: {metric!r} was not measured there; it has "
                f"{', '.join(sorted(there))}."
            )
    return runs


def _runs_in(folder: Path) -> list[Curves]:
    if RunFiles.of(folder).config.is_file():
        return [_run(folder)]
    # A sweep's final run, on all training data say, is not one of those that it compares.
    inside = [place for place in sorted(folder.glob("*/")) if place.name != FINAL]
    places = [place for place in inside if RunFiles.of(place).config.is_file()]
    if not places:
        raise UserError(f"{folder}: neither the folder of a run nor of a sweep.")
    return [_run(place) for place in places]


def _run(folder: Path) -> Curves:
    fields = {
        name.replace("/", "."): value
        for name, value in flatten(read_config(folder)).items()
        if not name.startswith((*NOT_OF_THE_RUN, *PLACES))
    }
    records = read_metrics(RunFiles.of(folder).metrics)
    return Curves(folder, fields, records, read_finished_results(folder))


def _by_experiment(runs: Sequence[Curves], besides: Sequence[str] = ()) -> dict[str, list[Curves]]:
    """Runs that differ in their seeds and `besides` only, by what tells them from the others.

    That is fields, or where they are many the folder of the first.
    """
    names = {name for run in runs for name in run.fields} - {SEED, *besides}
    told = [n for n in sorted(names) if len({json.dumps(run.fields.get(n)) for run in runs}) > 1]
    groups: dict[tuple[str, ...], list[Curves]] = {}
    for run in runs:
        groups.setdefault(tuple(json.dumps(run.fields.get(n)) for n in told), []).append(run)
    labels = [_label(group[0], told, _text) for group in groups.values()]
    if len(set(labels)) < len(labels):
        labels = [_label(group[0], told, str) for group in groups.values()]
    if len(told) > MOST_FIELDS:
        labels = [str(group[0].folder) for group in groups.values()]
    if SEED in besides:
        legends = [label or "median" for label in labels]
    else:
        legends = [_legend(label, g) for label, g in zip(labels, groups.values(), strict=True)]
    return dict(zip(legends, groups.values(), strict=True))


def _label(run: Curves, names: Sequence[str], text_of: Callable[[Any], str]) -> str:
    return ", ".join(f"{_short(name, names)} {text_of(run.fields.get(name))}" for name in names)


def _short(name: str, names: Sequence[str]) -> str:
    """The last word of a field's name, or all where others end with the same."""
    last = name.split(".")[-1]
    return last if [other.split(".")[-1] for other in names].count(last) == 1 else name


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _legend(told: str, runs: Sequence[Curves]) -> str:
    """What tells these runs from others, or where nothing does the run, and how many seeds."""
    seeds = len({run.fields.get(SEED) for run in runs})
    if told:
        return f"{told} ({seeds} seeds)" if seeds > 1 else told
    if len(runs) == 1:
        return runs[0].folder.name
    return f"median of {seeds} seeds" if seeds > 1 else "one seed"


def _median_and_band(
    axes: Axes,
    curves: Sequence[Mapping[int, float]],
    batch: int,
    label: str,
    look: Mapping[str, Any],
    metric: str,
) -> None:
    end = min(max(curve) for curve in curves)
    if end < max(max(curve) for curve in curves):
        label += f", to {end * batch:,}"
    steps = sorted({step for curve in curves for step in curve if step <= end})
    at_steps = [[_scaled(metric, curve[s]) for curve in curves if s in curve] for s in steps]
    x = [step * batch for step in steps]
    medians = [statistics.median(values) for values in at_steps]
    label = figure_text(label)
    axes.plot(x, medians, label=label, marker="o" if len(x) == 1 else "", ms=4, **look)
    if len(curves) > 1:
        lowest, highest = ([of(values) for values in at_steps] for of in (min, max))
        axes.fill_between(x, lowest, highest, color=look["color"], alpha=0.2, lw=0)


def _points_and_median(
    axes: Axes,
    runs: Sequence[Curves],
    field: str,
    metric: str,
    label: str,
    look: Mapping[str, Any],
) -> None:
    results: dict[float, list[float]] = {}
    for run in runs:
        results.setdefault(run.fields[field], []).append(_scaled(metric, run.at_end(metric)))
    points = [(value, score) for value, scores in results.items() for score in scores]
    axes.plot(*zip(*points, strict=True), "o", color=look["color"], alpha=0.5, mec="none")
    values = sorted(results)
    medians = [statistics.median(results[value]) for value in values]
    label = figure_text(label)
    axes.plot(values, medians, label=label, marker="_" if len(values) == 1 else "", ms=12, **look)


def _is_share(metric: str) -> bool:
    return not metric.startswith("train/") and not metric.endswith((*PLAIN, "loss"))


def _scaled(metric: str, value: float) -> float:
    return 100 * value if _is_share(metric) else value


def _axis_label(metric: str) -> str:
    return f"{metric}, %" if _is_share(metric) else metric
