"""A report as one page of HTML that loads nothing."""

from collections.abc import Sequence
from html import escape

from mlp_core.reports import words
from mlp_core.reports.sections import TITLE, Entry, Section

# Tables scroll inside their frame, so that the page is never wider than a phone.
STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --paper: #ffffff; --line: #d5dae3;
  --soft: #5a6475; --head: #f1f4f8; --here: #00528a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ef; --paper: #14181f; --line: #363e4b;
  --soft: #a0aaba; --head: #1e242e; --here: #7cc4ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem 1rem 4rem; color: var(--ink);
  background: var(--paper); font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .75rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .25rem; }
p, li { max-width: 46rem; } p { margin: .25rem 0 .5rem; }
nav ul { columns: 16rem; padding-left: 1.2rem; } a { color: var(--here); }
.soft, caption, details { color: var(--soft); font-size: .875rem; }
.frame { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; margin: .5rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .9375rem; overflow-wrap: normal; }
caption { caption-side: bottom; text-align: left; padding: .5rem .75rem; }
th, td { padding: .4rem .75rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
thead th { background: var(--head); vertical-align: bottom; }
tbody th { font-weight: 600; white-space: nowrap; }
td.figure, th.figure { text-align: right; font-variant-numeric: tabular-nums; }
td.text { overflow-wrap: anywhere; min-width: 11rem; }
td b { display: block; color: var(--here); }
@media print { nav { display: none; } .frame { overflow: visible; } body { max-width: none; }
  tr { break-inside: avoid; } thead { display: table-header-group; } }
"""


def html_page(sections: Sequence[Section]) -> str:
    """The whole page."""
    links = "\n".join(
        f'<li><a href="#s{number}">{escape(section.title)}</a></li>'
        for number, section in enumerate(sections)
    )
    body = "\n".join(_section(section, f"s{number}") for number, section in enumerate(sections))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{TITLE}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{TITLE}</h1>
<p>{escape(words.LEGEND)}</p>
<nav aria-label="Tables"><ul>
{links}
</ul></nav>
<main>
{body}
</main>
</body>
</html>
"""


def _section(section: Section, anchor: str) -> str:
    is_figures = bool(section.source)
    head = "".join(
        f'<th scope="col"{_figure(is_figures and index > 1)}>{escape(column)}</th>'
        for index, column in enumerate(section.columns)
    )
    rows = "\n".join(_row(row, is_figures) for row in section.rows)
    return f"""<section id="{anchor}">
<h2>{escape(section.title)}</h2>
<p class="soft">{escape(section.note)}</p>
<div class="frame" tabindex="0"><table>
{_caption(section)}<thead><tr>{head}</tr></thead>
<tbody>
{rows}
</tbody>
</table></div>
{_details(section)}</section>"""


def _row(row: Sequence[Entry], is_figures: bool) -> str:
    cells = [f'<th scope="row">{escape(row[0].text)}</th>']
    for index, entry in enumerate(row[1:], 1):
        here = f"<b>{escape(entry.here)}</b>" if entry.here else ""
        kind = _figure(index > 1) if is_figures else ' class="text"'
        cells.append(f"<td{kind}>{escape(entry.text)}{here}</td>")
    return f"<tr>{''.join(cells)}</tr>"


def _figure(is_one: bool) -> str:
    return ' class="figure"' if is_one else ""


def _caption(section: Section) -> str:
    if not section.source:
        return ""
    source = escape(section.source)
    link = f'<a href="{escape(section.url)}">{source}</a>' if section.url else source
    return f"<caption>Source: {link}</caption>\n"


def _details(section: Section) -> str:
    if not section.details:
        return ""
    items = "\n".join(f"<li>{escape(detail)}</li>" for detail in section.details)
    return f"<details open><summary>Measured here</summary><ul>\n{items}\n</ul></details>\n"
