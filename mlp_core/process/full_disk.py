"""A disk that is full, told in one sentence wherever it is met."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from mlp_core.errors import UserError

# No room on the device; none left of the user's quota; more than a file may have.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class FullDiskError(UserError):
    """There is no room to write."""


def is_full_disk(error: BaseException) -> bool:
    """Whether a full disk is the cause of an error, whichever library raised it."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        # C++ libraries, such as those that write arrays and records, give the text only.
        if any(os.strerror(number).lower() in str(error).lower() for number in FULL):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def full_disk_told(where: object) -> Iterator[None]:
    """Raises a sentence in place of whatever a full disk raises; `where` is what is written to.

    Raises:
        FullDiskError: the disk is full.
    """
    try:
        yield
    except UserError:  # Told already.
        raise
    except Exception as error:
        if not is_full_disk(error):
            raise
        raise FullDiskError(
            f"{where}: no room is left on the disk, or of the quota; make room, and the same "
            "command goes on."
        ) from error
