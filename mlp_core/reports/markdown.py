"""A report in Markdown."""

from collections.abc import Sequence

from mlp_core.reports import words
from mlp_core.reports.sections import TITLE, Entry, Section
from mlp_core.runs.tables import markdown_table


def markdown(sections: Sequence[Section]) -> str:
    """The whole document."""
    return "\n\n".join([f"# {TITLE}", words.LEGEND, *map(_section, sections)]) + "\n"


def _section(section: Section) -> str:
    rows = ([_entry(entry) for entry in row] for row in section.rows)
    parts = [f"## {section.title}", _plain(section.note)]
    if section.source:
        source = _plain(section.source)
        parts.append(f"Source: [{source}]({section.url})" if section.url else f"Source: {source}")
    parts.append(markdown_table(section.columns, rows))
    if section.details:
        parts.append("\n".join(f"- {_plain(detail)}" for detail in section.details))
    return "\n\n".join(parts)


def _entry(entry: Entry) -> str:
    here = f"**{entry.here}**" if entry.here else ""
    return " ".join(filter(None, [_plain(entry.text), here]))


def _plain(text: str) -> str:
    """A text in one line that is no markup, whatever a run has put into it."""
    for sign in "\\`*_[]<>|":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())
