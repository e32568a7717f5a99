"""Tables of runs in Markdown, and runs that differ in their seeds only."""

import dataclasses
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlp_core.process.console import in_one_line
from mlp_core.run_folder.metrics import (
    in_words,
    median_and_range,
    read_metrics,
    spread_in_words,
    value_in_words,
)
from mlp_core.run_folder.run_directory import RunFiles, hardware_in_words, read_environments

SEED = "seed"  # The field of a configuration.
MINUTES_A_DAY = 24 * 60
COST, SPEED = "train/device_days", "train/examples_per_second_per_device"  # As `RunLog` has them.
TITLES = ("result", "trained on", "device-minutes", "examples/s/device", "remark")


def markdown_row(cells: Iterable[str]) -> str:
    """A line of a table; bars and line breaks in a cell do not end it."""
    return f"| {' | '.join(map(_in_a_cell, cells))} |"


def markdown_head(titles: Sequence[str]) -> str:
    """The two lines that a table begins with."""
    return markdown_row(titles) + "\n" + markdown_row(["---"] * len(titles))


def markdown_table(titles: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """The whole table."""
    return "\n".join([markdown_head(titles), *map(markdown_row, rows)])


def _in_a_cell(text: str) -> str:
    return re.sub(r"(?<!\\)\|", r"\|", in_one_line(text.replace("\n", " ")))


def differ_in_seed_only(points: Sequence[Mapping[str, Any]]) -> bool:
    """Whether points with the same fields have different seeds and nothing else that differs."""
    return {f for f in points[0] if len({point[f] for point in points}) > 1} == {SEED}


def seed_groups(points: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    """The positions of points that differ in the seed only, for all groups of two and more."""
    groups: dict[tuple, list[int]] = {}
    for i, point in enumerate(points):
        others = tuple(value for field, value in point.items() if field != SEED)
        groups.setdefault(others, []).append(i)
    return [group for group in groups.values() if len(group) > 1]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of one member."""

    point: Mapping[str, Any]  # Field: value, the same fields for all members of a sweep.
    score: float | None  # The metric to choose by, a fraction; None without a sound one.
    remark: str = ""  # Why there is no score.


def best_of(outcomes: Sequence[Outcome]) -> Outcome | None:
    """The member with the highest score, the first of equals; None where there is no score."""
    scored = [outcome for outcome in outcomes if outcome.score is not None]
    return max(scored, key=lambda outcome: outcome.score, default=None)


def sweep_table(outcomes: Sequence[Outcome], metric: str) -> str:
    """The members in Markdown: a column for each field, the score, a remark.

    Below them, members that differ in the seed only are summed up in a row: the median of how many,
    the lowest and the highest. Where all differ in the seed only, none is marked as the best.
    """
    best = best_of(outcomes)
    if differ_in_seed_only([outcome.point for outcome in outcomes]):
        best = None
    rows = []
    for outcome in outcomes:
        score = "" if outcome.score is None else value_in_words(metric, outcome.score)
        remark = "**best**" if outcome is best else outcome.remark
        rows.append([*map(str, outcome.point.values()), score, remark])
    for group in seed_groups([outcome.point for outcome in outcomes]):
        scores = [outcomes[i].score for i in group if outcomes[i].score is not None]
        if scores:
            point = dict(outcomes[group[0]].point) | {SEED: f"median of {len(scores)}"}
            rows.append([*map(str, point.values()), *median_and_range(metric, scores)])
    return markdown_table([*outcomes[0].point, metric, "remark"], rows)


@dataclasses.dataclass(frozen=True)
class Row:
    """A run."""

    point: Mapping[str, Any]  # What tells it from the others; the same fields for all.
    folder: Path
    results: Mapping[str, float] | None  # Its last evaluation; None: it has not reached its end.
    remark: str  # On a run without results.


def comparison_table(rows: Sequence[Row]) -> str:
    """The runs in Markdown; the speed is the median of those that the run has told.

    Below them, runs that differ in their seeds only are summed up in a row: the median of how many,
    the lowest and the highest.
    """
    lines = [[*map(str, row.point.values()), *_cells(row)] for row in rows]
    for group in seed_groups([row.point for row in rows]):
        finished = [rows[i].results for i in group if rows[i].results]
        if finished:
            point = dict(rows[group[0]].point) | {SEED: f"median of {len(finished)}"}
            lines.append([*map(str, point.values()), spread_in_words(finished), "", "", "", ""])
    return markdown_table([*rows[0].point, *TITLES], lines)


def _cells(row: Row) -> list[str]:
    metrics = read_metrics(RunFiles.of(row.folder).metrics)
    cost, speed = ([m[name] for m in metrics if name in m] for name in (COST, SPEED))
    return [
        in_words(row.results) if row.results else "",
        hardware_in_words(read_environments(row.folder)),
        _in_digits(MINUTES_A_DAY * cost[-1]) if cost else "",
        _in_digits(statistics.median(speed)) if speed else "",
        "" if row.results else row.remark,
    ]


def _in_digits(value: float) -> str:
    """Three digits at least: "0.524", "2.35", "14,400"."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
