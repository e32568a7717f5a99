"""Exceptions for user errors, lost hosts and preemption."""

from collections.abc import Iterator
from contextlib import contextmanager

from mlp_core.urls import masked

TRY_AGAIN = 75  # Exit status after SIGTERM or SIGHUP; EX_TEMPFAIL of sysexits.h.


class UserError(ValueError):
    """An error that the user can fix.

    Its text is printed without a traceback: what is wrong, where, and what to do.
    """

    def __init__(self, text: object = ""):
        """Masks passwords and tokens in the URLs in `text`."""
        super().__init__(masked(str(text)))


class MissingError(UserError):
    """Data or weights that a run needs are missing and cannot be fetched."""


@contextmanager
def noted(missing: list[str]) -> Iterator[None]:
    """Collects a `MissingError` in a list, so that all are reported together."""
    try:
        yield
    except MissingError as error:
        missing.append(str(error))


class NonFiniteLossError(UserError):
    """The loss or a gradient is not finite."""


class Preempted(Exception):
    """SIGTERM or SIGHUP has ended a run; the text says what was saved."""


class LostHostError(UserError):
    """Another host of the run has failed, or is gone."""

    def __init__(self, text: str, status: int = TRY_AGAIN):
        """`status`: exit status; by default as after SIGTERM: the same command resumes."""
        super().__init__(text)
        self.status = status
