"""The exceptions that stand for a mistake of the user's, and for the wish that a process ends."""

from collections.abc import Iterator
from contextlib import contextmanager

from mlp_core.urls import masked

TRY_AGAIN = 75  # Exit status after SIGTERM or SIGHUP; EX_TEMPFAIL of sysexits.h.


class UserError(ValueError):
    """Something the user can mend.

    Its text is shown as it stands, without a traceback: what is wrong, where, and what to do.
    """

    def __init__(self, text: object = ""):
        """Masks passwords and tokens in the URLs in `text`."""
        super().__init__(masked(str(text)))


class MissingError(UserError):
    """Data or weights that a run needs are not here and cannot be had from here."""


@contextmanager
def noted(missing: list[str]) -> Iterator[None]:
    """Adds what is missing to a list, so that the rest is looked for and all is told at once."""
    try:
        yield
    except MissingError as error:
        missing.append(str(error))


class NonFiniteLossError(UserError):
    """Training met a loss or gradient that is not a finite number."""


class Preempted(Exception):
    """SIGTERM or SIGHUP has ended a run; the text says what is saved."""


class LostHostError(UserError):
    """Another host of the run has failed, or is gone."""

    def __init__(self, text: str, status: int = TRY_AGAIN):
        """`status` is what to exit with; by default as after SIGTERM: the same command goes on."""
        super().__init__(text)
        self.status = status
