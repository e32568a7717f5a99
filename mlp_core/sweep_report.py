"""What came of a sweep: the choice of the best member, and a table."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any


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


def table(outcomes: Sequence[Outcome], metric: str) -> str:
    """The members in Markdown: a column for each field, the score in percent, a remark."""
    best = best_of(outcomes)
    rows = [[*outcomes[0].point, metric, "remark"]]
    rows.append(["---"] * len(rows[0]))
    for outcome in outcomes:
        score = "" if outcome.score is None else f"{100 * outcome.score:.2f} %"
        remark = "**best**" if outcome is best else " ".join(outcome.remark.split())
        rows.append([*map(str, outcome.point.values()), score, remark.replace("|", "/")])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
