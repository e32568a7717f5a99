"""The table of a comparison: scores, cost and speed of runs, from what their folders say."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlp_core.run_folder.metrics import read_metrics
from mlp_core.run_folder.run_directory import RunFiles, hardware_in_words, read_environments
from mlp_core.run_folder.scores import in_words, spread_in_words
from mlp_core.runs.markdown_table import markdown_table
from mlp_core.runs.seeds import SEED, seed_groups

MINUTES_A_DAY = 24 * 60
COST, SPEED = "train/device_days", "train/examples_per_second_per_device"  # As `RunLog` has them.
TITLES = ("result", "trained on", "device-minutes", "examples/s/device", "remark")


@dataclasses.dataclass(frozen=True)
class Row:
    """A run."""

    point: Mapping[str, Any]  # What tells it from the others; the same fields for all.
    folder: Path
    results: Mapping[str, float] | None  # Its last evaluation; None: it has not reached its end.
    remark: str  # On a run without results.


def table(rows: Sequence[Row]) -> str:
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
