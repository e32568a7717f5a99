"""Pictures that cannot be read: a few are told and let pass, many stop the run."""

import threading

from mlp_core.errors import UserError
from mlp_core.process.console import say_from_any_host

FEW = 5
FEW_SHARE = 0.01  # Of a split; whichever is more.
MOST_LINES = 20


class BadPictures:
    """The bad pictures of one split, as far as this process has met them; safe among threads."""

    def __init__(self, where: str, num_examples: int):
        """Starts to count; `where` names data set and split."""
        self._where = where
        self._limit = max(FEW, int(FEW_SHARE * num_examples))
        self._num_examples = num_examples
        self._reasons: dict[str, str] = {}  # By name.
        self._verdict = ""  # The same for all threads, once there are too many.
        self._lock = threading.Lock()

    def add(self, name: str, reason: str, consequence: str) -> None:
        """Says that a picture is bad and what follows, the first time that it is met.

        Raises:
            UserError: with it there are more than 5 and more than 1 % of the split.
        """
        with self._lock:
            if self._verdict:
                raise UserError(self._verdict)
            if name in self._reasons:
                return
            self._reasons[name] = reason
            count = len(self._reasons)
            if count > self._limit:
                self._verdict = self._too_many()
                raise UserError(self._verdict)
            if count <= MOST_LINES:
                say_from_any_host(
                    f"{self._where}: {name} is {reason}; {consequence} ({count} so far)"
                )
            if count == MOST_LINES:
                say_from_any_host(f"{self._where}: further bad pictures are only counted")
            elif count > MOST_LINES and f"{count}".strip("0") == "1":  # 100, 1,000 and so on.
                say_from_any_host(f"{self._where}: {count:,} pictures cannot be read so far")

    def summary(self) -> str:
        """How many have been met, and some of them; empty where there was none."""
        if not self._reasons:
            return ""
        return f"{self._where}: {self._count()} pictures could not be read: {self._names()}"

    def _too_many(self) -> str:
        return (
            f"{self._where}: {self._count()} pictures cannot be read so far, and only "
            f"{self._limit:,} are let pass: {self._names()}; mend or remove them."
        )

    def _count(self) -> str:
        return f"{len(self._reasons):,} of {self._num_examples:,}"

    def _names(self) -> str:
        names = [f"{name} ({reason})" for name, reason in list(self._reasons.items())[:FEW]]
        return ", ".join(names) + (", ..." if len(self._reasons) > FEW else "")


class MetPictures:
    """The bad pictures that a worker process has met, to be told by the one that started it."""

    def __init__(self):
        """Starts with none."""
        self._met: list[tuple[str, str, str]] = []

    def add(self, name: str, reason: str, consequence: str) -> None:
        """Remembers one; see `BadPictures.add`."""
        self._met.append((name, reason, consequence))

    def taken(self) -> list[tuple[str, str, str]]:
        """All since this was last called."""
        met, self._met = self._met, []
        return met
