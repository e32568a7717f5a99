"""Tables in Markdown."""

import re
from collections.abc import Iterable, Sequence

from mlp_core.process.console import in_one_line


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
