"""Published tables with what was computed and measured here; no figure that no run produced."""

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlp_core.reports.published_tables import Column, PublishedTable, Row
from mlp_core.reports.recipes import Recipe
from mlp_core.reports.runs import RunRecord
from mlp_core.run_folder.metrics import PLAIN

MODEL_COSTS = Callable[..., Mapping[str, float]]


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What runs of one recipe, which differ in their seeds, have measured."""

    recipe: str
    metric: str
    runs: tuple[RunRecord, ...]

    @property
    def values(self) -> list[float]:
        """In the table's unit: percent, or perplexity."""
        factor = 1 if self.metric.endswith(PLAIN) else 100
        return [factor * run.results[self.metric] for run in self.runs]

    @property
    def median(self) -> float:
        """Over the seeds."""
        return statistics.median(self.values)


@dataclasses.dataclass(frozen=True)
class Cell:
    """A figure of a paper, and the same here; None where there is none."""

    published: float | None
    from_memory: bool
    here: float | None
    measurements: tuple[Measurement, ...] = ()


@dataclasses.dataclass(frozen=True)
class FilledTable:
    """A table, with a cell for each row and column."""

    published: PublishedTable
    cells: list[list[Cell]]

    def measurements(self) -> list[tuple[Row, Column, Measurement]]:
        """All measurements behind its figures."""
        table = self.published
        return [
            (row, column, measurement)
            for row, cells in zip(table.rows, self.cells, strict=True)
            for column, cell in zip(table.columns, cells, strict=True)
            for measurement in cell.measurements
        ]


@dataclasses.dataclass(frozen=True)
class OtherRun:
    """A run that fills no cell."""

    record: RunRecord
    nearest: str | None  # The recipe that it is closest to.
    differences: list[str]  # From that.


def fill(
    table: PublishedTable,
    records: Sequence[RunRecord],
    open_recipe: Callable[[str], Recipe],
    model_costs: MODEL_COSTS,
) -> FilledTable:
    """Sets beside each published figure what the records and the code give."""

    def cell(row: Row, column: Column) -> Cell:
        published = row.published.get(column.key)
        from_memory = column.key in row.from_memory
        if column.computed:
            here = costs_of(row)[column.computed] if row.model is not None else None
            return Cell(published, from_memory, here)
        wanted = row.recipes.get(column.key, ()) if column.metric else ()
        found = [measure(open_recipe(name), column.metric, records, open_recipe) for name in wanted]
        measured = tuple(measurement for measurement in found if measurement.runs)
        whole = bool(wanted) and len(measured) == len(wanted)
        here = statistics.mean(m.median for m in measured) if whole else None
        return Cell(published, from_memory, here, measured if whole else ())

    costs: dict[int, Mapping[str, float]] = {}

    def costs_of(row: Row) -> Mapping[str, float]:
        if id(row) not in costs:
            costs[id(row)] = model_costs(**row.model)
        return costs[id(row)]

    return FilledTable(
        table, [[cell(row, column) for column in table.columns] for row in table.rows]
    )


def measure(
    recipe: Recipe,
    metric: str,
    records: Sequence[RunRecord],
    open_recipe: Callable[[str], Recipe],
) -> Measurement:
    """What finished runs of `recipe` have measured; its last run for each seed counts."""
    by_seed: dict[str, RunRecord] = {}
    for record in records:
        is_finished = metric in (record.results or {})
        if is_finished and not departures(record, recipe, metric, records, open_recipe):
            by_seed[str(record.config.get("seed"))] = record
    return Measurement(recipe.name, metric, tuple(by_seed.values()))


def departures(
    record: RunRecord,
    recipe: Recipe,
    metric: str,
    records: Sequence[RunRecord],
    open_recipe: Callable[[str], Recipe],
) -> list[str]:
    """How a run departs from `recipe`, in lines, by its configuration or by where it starts."""
    differences = recipe.differences(record.config, metric)
    if recipe.start is None or differences:
        return differences
    weights, start = record.config["init"]["weights"], open_recipe(recipe.start)
    its_metric, started_from = start.config.evaluation.best_metric, _record_at(weights, records)
    if started_from is None or its_metric not in (started_from.results or {}):
        return [f"config.init.weights: no finished run {weights} is among the runs"]
    if departures(started_from, start, its_metric, records, open_recipe):
        return [f"config.init.weights: {weights} is no whole run of {recipe.start}"]
    return []


def _record_at(folder: str, records: Sequence[RunRecord]) -> RunRecord | None:
    """The run in a folder, which may be seen from elsewhere than the folder of all runs."""
    parts = Path(folder).parts
    there = [r for r in records if parts[-len(Path(r.name).parts) :] == Path(r.name).parts]
    return max(there, key=lambda record: len(Path(record.name).parts), default=None)


def other_runs(
    tables: Sequence[FilledTable],
    records: Sequence[RunRecord],
    open_recipe: Callable[[str], Recipe],
) -> list[OtherRun]:
    """The runs that fill no cell, with the recipe of the same model and data that is closest."""
    used = {run.name for table in tables for _, _, m in table.measurements() for run in m.runs}
    recipes = {
        (name, column.metric)
        for table in tables
        for row in table.published.rows
        for column in table.published.columns
        if column.metric
        for name in row.recipes.get(column.key, ())
    }
    others = []
    for record in records:
        if record.name in used:
            continue
        near = [
            (recipe.name, departures(record, recipe, metric, records, open_recipe))
            for recipe, metric in ((open_recipe(name), metric) for name, metric in sorted(recipes))
            if _subject(recipe.config) == _subject(record.config)
        ]
        name, differences = min(near, key=lambda pair: len(pair[1]), default=(None, []))
        others.append(OtherRun(record, name, differences))
    return others


def _subject(config: Mapping[str, Any]) -> list[Any]:
    data, model = config.get("data", {}), config.get("model", {})
    name = data.get("name") or Path(str(data.get("train_split"))).name
    return [config.get("task"), name, model.get("name")]
