"""Plots of a sweep's scores. Training never imports this module."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mlp_core.process.figure_files import figure_text, missing_glyphs_noted
from mlp_core.process.files import whole_output
from mlp_core.runs.tables import SEED, Outcome, best_of, differ_in_seed_only

DECADE = 10


def plot(outcomes: Sequence[Outcome], metric: str, title: str, file: Path) -> None:
    """Plots scores in percent over a swept field as a PNG, one line per setting of the others.

    The field is the numeric one with the most values, on a logarithmic axis if they span a decade.
    Seeds and non-numeric values are evenly spaced. Members without a score are marked at the
    bottom.
    """
    field = max(outcomes[0].point, key=lambda f: (_is_numeric(outcomes, f), len(_at(outcomes, f))))
    values = _at(outcomes, field)
    numeric = _is_numeric(outcomes, field)
    position = {value: value if numeric else i for i, value in enumerate(values)}
    figure = Figure(figsize=(7, 4.5), layout="constrained", dpi=150)
    axes = figure.subplots()
    if numeric and min(values) > 0 and max(values) >= DECADE * min(values):
        axes.set_xscale("log")
    axes.set_xticks([position[value] for value in values], [figure_text(value) for value in values])
    axes.minorticks_off()
    axes.set(
        title=figure_text(title), xlabel=figure_text(field), ylabel=figure_text(f"{metric}, %")
    )
    axes.grid(alpha=0.3)
    for label, members in _lines(outcomes, field).items():
        scored = [m for m in members if m.score is not None]
        x = [position[m.point[field]] for m in scored]
        axes.plot(
            x, [100 * m.score for m in scored], "o-" if numeric else "o", label=figure_text(label)
        )
    if differ_in_seed_only([outcome.point for outcome in outcomes]):
        _mark_median(axes, outcomes)
    else:
        _mark_best(axes, outcomes, field, position)
    missing = [position[m.point[field]] for m in outcomes if m.score is None]
    if missing:
        bottom = axes.get_xaxis_transform()  # Heights are fractions of the axis.
        axes.plot(missing, [0.03] * len(missing), "rx", transform=bottom, label="no score")
    if missing or len(outcomes[0].point) > 1:
        axes.legend()
    with whole_output(file) as part, missing_glyphs_noted():
        figure.savefig(part)


def _mark_best(axes: Axes, outcomes: Sequence[Outcome], field: str, position: dict) -> None:
    best = best_of(outcomes)
    if best is not None:
        axes.annotate(
            f"{100 * best.score:.2f} %",
            (position[best.point[field]], 100 * best.score),
            xytext=(0, 7),
            textcoords="offset points",
            ha="center",
        )
        axes.margins(y=0.15)  # Room for the numbers.


def _mark_median(axes: Axes, outcomes: Sequence[Outcome]) -> None:
    scores = [outcome.score for outcome in outcomes if outcome.score is not None]
    if scores:
        median = 100 * statistics.median(scores)
        axes.axhline(median, ls="--", color="tab:green")
        axes.annotate(
            f"median {median:.2f} %",
            (0.01, median),
            xycoords=("axes fraction", "data"),
            va="bottom",
        )


def _at(outcomes: Sequence[Outcome], field: str) -> list[Any]:
    """Returns the distinct values of a field, in the order of the members."""
    return list(dict.fromkeys(outcome.point[field] for outcome in outcomes))


def _is_numeric(outcomes: Sequence[Outcome], field: str) -> bool:
    values = _at(outcomes, field)
    return field != SEED and all(type(value) in (int, float) for value in values)


def _lines(outcomes: Sequence[Outcome], field: str) -> dict[str, list[Outcome]]:
    """Groups members by the values of all fields but one."""
    lines: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        others = [
            f"{name.split('.')[-1]} {v}" for name, v in outcome.point.items() if name != field
        ]
        lines.setdefault(", ".join(others) or "score", []).append(outcome)
    return lines
