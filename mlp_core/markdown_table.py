"""Tables in Markdown."""

from collections.abc import Iterable, Sequence
from typing import Any


def cell(value: Any) -> str:
    """A value as the text of a cell: on one line, without the sign that ends a cell."""
    return " ".join(str(value).split()).replace("|", "/")


def markdown_row(cells: Iterable[str]) -> str:
    """A line of a table."""
    return f"| {' | '.join(cells)} |"


def markdown_head(titles: Sequence[str]) -> str:
    """The two lines that a table begins with."""
    return markdown_row(titles) + "\n" + markdown_row(["---"] * len(titles))


def markdown_table(titles: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """The whole table."""
    return "\n".join([markdown_head(titles), *map(markdown_row, rows)])
