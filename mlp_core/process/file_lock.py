"""File locks, on file systems that have them; a killed process holds none."""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from mlp_core.errors import UserError
from mlp_core.process.console import say

NO_LOCKS_HERE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # Lustre, NFS and FUSE may say so.
A_DAY = 86400  # Seconds.
LOOK_EVERY = 0.2


def open_lock_file(path: Path) -> IO[bytes]:
    """Opens a file to lock, created if need be, for reading and writing.

    Raises:
        OSError: it cannot be opened, or is a symbolic link, which could lead anywhere.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return open(path, "r+b", opener=lambda name, _: os.open(name, flags, 0o666))


def lock(file: IO) -> bool:
    """Locks an open file against other processes, until it is closed.

    Returns False, and does nothing, on a file system without locks.

    Raises:
        BlockingIOError: another process holds the lock.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in NO_LOCKS_HERE:
            raise
        return False
    return True


def lock_in_turn(file: IO, work: str, limit: float = A_DAY) -> bool:
    """As `lock`, but waits until the other process is done, and says so.

    Args:
      file: open.
      work: what the other process does, as in "prepares the data".
      limit: seconds that it may take.

    Raises:
        UserError: it takes longer.
    """
    deadline, is_told = time.monotonic() + limit, False
    while True:
        try:
            return lock(file)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise UserError(
                    f"{file.name}: another process has been at it for {limit / 3600:.3g} hours; "
                    "see whether it hangs, and end it."
                ) from None
        if not is_told:
            say(f"Waits for another process that {work}")
            is_told = True
        time.sleep(LOOK_EVERY)


@contextmanager
def one_at_a_time(path: Path, work: str) -> Iterator[None]:
    """Lets one process in and the others wait, told that another does `work`.

    `path` stays behind empty: taking it away would let two in.

    Raises:
        OSError: it cannot be written.
        UserError: the other takes longer than a day.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_lock_file(path) as file:
        lock_in_turn(file, work)
        yield
