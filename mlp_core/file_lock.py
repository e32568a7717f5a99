"""File locks, on file systems that have them; a killed process holds none."""

import errno
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from mlp_core.console import say

NO_LOCKS_HERE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # Lustre, NFS and FUSE may say so.


def lock(file: IO, wait: bool = True) -> bool:
    """Locks an open file against other processes, until it is closed.

    Returns False, and does nothing, on a file system without locks.

    Raises:
        BlockingIOError: another process holds the lock, and `wait` is False.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in NO_LOCKS_HERE:
            raise
        return False
    return True


@contextmanager
def one_at_a_time(path: Path, work: str) -> Iterator[None]:
    """Lets one process in and the others wait, told that another does `work`.

    `path` stays behind empty: taking it away would let two in.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            lock(file, wait=False)
        except BlockingIOError:
            say(f"Waits for another process that {work}")
            lock(file)
        yield
