"""A folder of checkpoints: one entry a step, and damaged ones that were set aside."""

import itertools
import json
import re
from pathlib import Path

from mlp_core.errors import UserError

STEP = re.compile("0|[1-9][0-9]*")  # As Orbax names it.
DAMAGED = "damaged_"


class DamagedError(UserError):
    """A checkpoint is not whole, or is of another model."""

    def __init__(self, path: Path, reason: str):
        """Says why, in a few words."""
        super().__init__(f"{path}: this checkpoint is damaged or of another model ({reason}).")
        self.path = path
        self.reason = reason


def saved_steps(directory: Path) -> list[int]:
    """The steps of which there is an entry in `directory`, whole or damaged, in order.

    Orbax gives a checkpoint its number when it is whole; what a kill leaves has another name.
    """
    if not directory.is_dir():
        return []
    return sorted(int(e.name) for e in directory.iterdir() if STEP.fullmatch(e.name))


def set_aside(path: Path) -> Path:
    """Renames a damaged checkpoint, so that it counts as none; returns its new place.

    Raises:
        UserError: it cannot be renamed.
    """
    target = path.with_name(DAMAGED + path.name)
    for i in itertools.count(2):
        if not target.exists():
            break
        target = path.with_name(f"{DAMAGED}{path.name}_{i}")
    try:
        return path.rename(target)
    except OSError as error:
        raise UserError(
            f"{path}: this checkpoint is damaged, and cannot be renamed ({error.strerror}); move "
            "it away."
        ) from error


def check_metrics(path: Path, best_metric: str) -> None:
    """Checks what Orbax reads of every checkpoint as it opens the folder.

    Args:
      path: the folder of one checkpoint.
      best_metric: its metrics have it, if there are any.

    Raises:
        DamagedError: they are damaged.
    """
    try:
        metrics = read_metrics(path)
        if metrics is not None:
            float(metrics[best_metric])
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise DamagedError(path, "its metrics are not readable as JSON") from error


def read_metrics(path: Path) -> dict[str, float] | None:
    """The metrics saved with a checkpoint; None if it was saved without an evaluation."""
    try:
        return json.loads((path / "metrics" / "metrics").read_text())
    except FileNotFoundError:
        return None
