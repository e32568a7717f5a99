"""Which examples of a split are held out, and which are the shots of a few-shot probe."""

from collections.abc import Sequence

import numpy as np

from mlp_core.errors import UserError

MOST_NAMED = 3  # Classes in a message.


def held_out(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Draws about a `share` of each class, one example at least of a class that has two or more.

    Returns whether each of the examples, of which `labels` [N] are the classes, is held out.
    """
    rng = np.random.default_rng(seed)
    is_held_out = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        count = min(max(round(share * len(members)), 1), len(members) - 1)
        is_held_out[members[:count]] = True
    return is_held_out


def shots_of_each_class(labels: np.ndarray, num_classes: int, shots: int, seed: int) -> np.ndarray:
    """Draws `shots` examples of each class, without repetition; returns their indices.

    With the same seed the draws of fewer shots are among those of more. Each class must have as
    many, see `check_shots`.
    """
    rng = np.random.default_rng(seed)
    members = [rng.permutation(np.flatnonzero(labels == c)) for c in range(num_classes)]
    return np.concatenate([of_class[:shots] for of_class in members])


def check_shots(
    labels: np.ndarray, class_names: Sequence[str], shots: Sequence[int], where: str
) -> None:
    """Refuses more shots than some class has examples among `labels`; `where` names these.

    Raises:
        UserError: names the classes with the fewest, and how many shots can be had.
    """
    counts = np.bincount(labels, minlength=len(class_names))
    wanted, fewest = max(shots, default=0), int(counts.min())
    if fewest >= wanted:
        return
    short = [c for c in np.argsort(counts, kind="stable") if counts[c] < wanted]
    named = ", ".join(f"{class_names[c]!r} ({counts[c]})" for c in short[:MOST_NAMED])
    others = f" and {len(short) - MOST_NAMED} more classes" if len(short) > MOST_NAMED else ""
    remedy = f"ask for {fewest} at most" if fewest else "leave few-shot probes out with --shots="
    raise UserError(
        f"--shots: {wanted} examples of each class are asked for, and {where} has fewer of "
        f"{named}{others}; {remedy}."
    )
