"""Tables of runs in Markdown, and groups of runs that differ only in their seeds."""

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

SEED = "seed"  # The field of the configuration.
MINUTES_A_DAY = 24 * 60
COST, SPEED = "train/device_days", "train/examples_per_second_per_device"  # Names used by `RunLog`.
TITLES = ("result", "trained on", "device-minutes", "examples/s/device", "remark")


def markdown_row(cells: Iterable[str]) -> str:
    """Returns a row of a table, with bars and line breaks in cells escaped."""
    return f"| {' | '.join(map(_in_a_cell, cells))} |"


def markdown_head(titles: Sequence[str]) -> str:
    """Returns the two header lines of a table."""
    return markdown_row(titles) + "\n" + markdown_row(["---"] * len(titles))


def markdown_table(titles: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """Returns the whole table."""
    return "\n".join([markdown_head(titles), *map(markdown_row, rows)])


def _in_a_cell(text: str) -> str:
    return re.sub(r"(?<!\\)\|", r"\|", in_one_line(text.replace("\n", " ")))


def differ_in_seed_only(points: Sequence[Mapping[str, Any]]) -> bool:
    """Whether points with the same fields differ only in their seeds."""
    return {f for f in points[0] if len({point[f] for point in points}) > 1} == {SEED}


def seed_groups(points: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    """Returns the indices of points that differ only in the seed, as groups of two or more."""
    groups: dict[tuple, list[int]] = {}
    for i, point in enumerate(points):
        others = tuple(value for field, value in point.items() if field != SEED)
        groups.setdefault(others, []).append(i)
    return [group for group in groups.values() if len(group) > 1]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The result of one member."""

    point: Mapping[str, Any]  # Field: value, the same fields for all members of a sweep.
    score: float | None  # The metric to select by, a fraction; None if there is no valid one.
    remark: str = ""  # Why there is no score.


def best_of(outcomes: Sequence[Outcome]) -> Outcome | None:
    """Returns the member with the highest score, the first on ties; None if there is no score."""
    scored = [outcome for outcome in outcomes if outcome.score is not None]
    return max(scored, key=lambda outcome: outcome.score, default=None)


def sweep_table(outcomes: Sequence[Outcome], metric: str) -> str:
    """Returns the members in Markdown, with columns for each field, the score and a remark.

    Below them, members that differ only in the seed are summarized in a row: the median, the
    number of members, the lowest and the highest. If all differ only in the seed, none is marked as
    the best.
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

    point: Mapping[str, Any]  # The fields that distinguish it; the same for all.
    folder: Path
    results: Mapping[str, float] | None  # Its last evaluation; None if it is unfinished.
    remark: str  # For a run without results.


def comparison_table(rows: Sequence[Row]) -> str:
    """Returns the runs in Markdown; the speed is the median of the run's reported speeds.

    Below them, runs that differ only in their seeds are summarized in a row: the median, the number
    of runs, the lowest and the highest.
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
    """Formats with at least three digits: "0.524", "2.35", "14,400"."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
