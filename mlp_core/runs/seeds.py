"""Runs that differ in their seeds only, which are draws of one and the same experiment."""

from collections.abc import Mapping, Sequence
from typing import Any

SEED = "seed"  # The field of a configuration.


def differ_in_seed_only(points: Sequence[Mapping[str, Any]]) -> bool:
    """Whether points with the same fields have different seeds and nothing else that differs."""
    return {f for f in points[0] if len({point[f] for point in points}) > 1} == {SEED}


def seed_groups(points: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    """The positions of points that differ in the seed only, for all groups of two and more."""
    groups: dict[tuple, list[int]] = {}
    for i, point in enumerate(points):
        others = tuple(value for field, value in point.items() if field != SEED)
        groups.setdefault(others, []).append(i)
    return [group for group in groups.values() if len(group) > 1]
