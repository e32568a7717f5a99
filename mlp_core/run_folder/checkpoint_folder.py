"""A directory of checkpoints: one entry per step, and damaged ones that were set aside."""

import itertools
import json
import re
from pathlib import Path

from mlp_core.errors import UserError

STEP = re.compile("0|[1-9][0-9]*")  # The name that Orbax gives it.
DAMAGED = "damaged_"


class DamagedError(UserError):
    """A checkpoint is damaged, or is of another model."""

    def __init__(self, path: Path, reason: str):
        """`reason` is a short phrase."""
        super().__init__(f"{path}: this checkpoint is damaged or of another model ({reason}).")
        self.path = path
        self.reason = reason


def saved_steps(directory: Path) -> list[int]:
    """Returns the steps that have an entry in `directory`, damaged or not, in order.

    Orbax names a checkpoint by its number once it is complete; a killed save leaves another name.
    """
    if not directory.is_dir():
        return []
    return sorted(int(e.name) for e in directory.iterdir() if STEP.fullmatch(e.name))


def set_aside(path: Path) -> Path:
    """Renames a damaged checkpoint so that it is ignored; returns its new path.

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
    """Checks the metrics that Orbax reads of every checkpoint as it opens the directory.

    Args:
      path: the directory of one checkpoint.
      best_metric: the metric that must be present if there are metrics.

    Raises:
        DamagedError: the metrics are damaged.
    """
    try:
        metrics = read_metrics(path)
        if metrics is not None:
            float(metrics[best_metric])
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise DamagedError(path, "its metrics are not readable as JSON") from error


def read_metrics(path: Path) -> dict[str, float] | None:
    """Reads the metrics saved with a checkpoint; None if it was saved without an evaluation."""
    try:
        return json.loads((path / "metrics" / "metrics").read_text())
    except FileNotFoundError:
        return None
