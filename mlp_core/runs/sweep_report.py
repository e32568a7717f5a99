"""What came of a sweep: the choice of the best member, and a table."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from mlp_core.run_folder.scores import median_and_range, value_in_words
from mlp_core.runs.markdown_table import markdown_table
from mlp_core.runs.seeds import SEED, differ_in_seed_only, seed_groups


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
