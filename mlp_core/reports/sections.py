"""A report as sections of plain tables, which Markdown and HTML set in their own ways."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from mlp_core.reports import words
from mlp_core.reports.filled_tables import FilledTable, OtherRun
from mlp_core.reports.runs import benchmark_row

TITLE = "Published figures, and those measured here"


@dataclasses.dataclass(frozen=True)
class Entry:
    """A cell: a figure of a paper and its counterpart of here, or one text."""

    text: str
    here: str = ""


@dataclasses.dataclass(frozen=True)
class Section:
    """A heading, a table, and what belongs to it."""

    title: str
    note: str
    columns: list[str]
    rows: list[list[Entry]]
    source: str = ""
    url: str = ""
    details: list[str] = dataclasses.field(default_factory=list)  # Where its figures come from.


def sections(
    tables: Sequence[FilledTable],
    others: Sequence[OtherRun],
    benchmarks: Sequence[Mapping[str, Any]],
    problems: Sequence[str],
) -> list[Section]:
    """All of a report, in order."""
    made = [_of_table(table) for table in tables]
    if others:
        made.append(_of_other_runs(others))
    if benchmarks:
        rows = [[Entry(text) for text in benchmark_row(report)] for report in benchmarks]
        columns = ["Benchmark", "Figures", "Sizes", "Hardware"]
        made.append(Section("Benchmarks", "As benchmarks/*.py printed them.", columns, rows))
    if problems:
        rows = [[Entry(problem)] for problem in problems]
        made.append(Section("Left out", "What could not be read.", ["What, and why"], rows))
    return made


def _of_table(table: FilledTable) -> Section:
    published = table.published
    decimals = [published.decimals(column) for column in published.columns]
    rows = []
    for row, cells in zip(published.rows, table.cells, strict=True):
        figures = [
            Entry(words.published(cell, places), words.here(cell))
            for cell, places in zip(cells, decimals, strict=True)
        ]
        rows.append([Entry(row.name), Entry(row.setting), *figures])
    return Section(
        title=published.title,
        note=published.note,
        columns=["Model", "Setting", *(column.title for column in published.columns)],
        rows=rows,
        source=published.source,
        url=published.url,
        details=[words.measured(*measurement) for measurement in table.measurements()],
    )


def _of_other_runs(others: Sequence[OtherRun]) -> Section:
    rows = [
        [
            Entry(other.record.name),
            Entry(words.outcome(other)),
            Entry(f"{other.record.hardware}; {other.record.cost}"),
            Entry(words.difference(other)),
        ]
        for other in others
    ]
    note = "Runs that fill no cell above: cut short, changed, or of something no table is about."
    columns = ["Run", "Result", "Hardware and time", "Nearest recipe, and what differs from it"]
    return Section("Other runs", note, columns, rows)
