"""Bounded reads, atomic writes and file locks.

File contents are untrusted, so every read has a size limit. A full disk becomes a `FullDiskError`.
"""

import errno
import fcntl
import json
import math
import os
import stat
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from mlp_core.errors import UserError
from mlp_core.process.console import say
from mlp_core.process.preemption import removed_at_end

SMALL_FILE_BYTES = 64 << 20  # Larger than any config or list of names.
SKIPPED_AT_ONCE = 1 << 26  # Bytes.
# Device full; user's quota exceeded; file size limit exceeded.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_LOCKS_HERE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # On some Lustre, NFS, FUSE.
A_DAY = 86400  # Seconds.
LOOK_EVERY = 0.2


def read_bytes(path: Path, most_bytes: int = SMALL_FILE_BYTES) -> bytes:
    """Returns the content of a file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not a regular file (a pipe or device may have no end), or too long.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("not a regular file")
    if found.st_size > most_bytes:
        raise ValueError(f"longer than the {most_bytes >> 20:,} MiB that are read of such a file")
    with path.open("rb") as file:
        return file.read(most_bytes)


def read_text(path: Path, most_bytes: int = SMALL_FILE_BYTES) -> str:
    """Returns the content of a UTF-8 file without a byte-order mark.

    Raises:
        OSError, ValueError: see `read_bytes`; or the text is not UTF-8.
    """
    return read_bytes(path, most_bytes).decode("utf-8-sig")


def read_json(path: Path) -> Any:
    """Returns a parsed JSON file; raises the errors of `read_text` and `parse_json`."""
    return parse_json(read_text(path))


def parse_json(text: str | bytes) -> Any:
    """Parses JSON.

    Raises:
        ValueError: it is not JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def skip_line(file: IO[bytes], most_bytes: float = math.inf) -> None:
    """Reads to the end of a line.

    Raises:
        ValueError: the line is longer than `most_bytes`; a device such as /dev/zero has no end.
    """
    skipped = 0
    while (part := file.readline(SKIPPED_AT_ONCE)) and not part.endswith(b"\n"):
        skipped += len(part)
        if skipped >= most_bytes:
            raise ValueError(f"does not end within {most_bytes / 2**30:g} GiB")


def bounded_lines(file: IO[bytes], most_bytes: int) -> Iterator[bytes]:
    """Yields the lines of a file, with their line ends.

    Raises:
        ValueError: a line is longer than `most_bytes`; gives its number.
    """
    number = 0
    while line := file.readline(most_bytes + 1):
        number += 1
        if len(line) > most_bytes:
            raise ValueError(f"line {number:,} is longer than {most_bytes >> 20} MiB")
        yield line


def check_output(output: Path, suffixes: Sequence[str] = (), flag: str = "output") -> None:
    """Checks that an output file can be written, before any work is done for it.

    Args:
      output: the file; its parent directories may be missing.
      suffixes: the supported formats; empty: any.
      flag: the flag that names the file, for messages.

    Raises:
        UserError: the suffix is not supported, the path exists, or it cannot be written.
    """
    where = f"--{flag}={output}"
    if suffixes and output.suffix not in suffixes:
        *others, last = suffixes
        raise UserError(f"{where}: name a file that ends in {', '.join(others)} or {last}.")
    if output.is_symlink() or output.exists():
        raise UserError(f"{where}: something lies there; name another.")
    folder = next(folder for folder in output.absolute().parents if folder.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UserError(f"{where}: no file can be written in {folder}.")


@contextmanager
def whole_output(target: Path) -> Iterator[Path]:
    """Yields a path to write to, which replaces `target` if the block succeeds.

    The path is in a new private directory beside `target`, so no other user can predict it or put
    a link there. It is removed after an error. The result has the mode of the file it replaces, or
    the umask's default. A link at `target` is replaced; the file it points to is unchanged.
    Missing parent directories are created.

    Raises:
        OSError: `target` cannot be written, or is a directory, pipe or device.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "not a regular file", str(target))
    with (
        tempfile.TemporaryDirectory(
            prefix=".part-", dir=target.parent, ignore_cleanup_errors=True
        ) as private,
        removed_at_end(Path(private)),
    ):
        part, mode = Path(private, f"part{target.suffix}"), _mode_for(target, Path(private))
        yield part
        if part.is_file():
            part.chmod(mode)  # Some libraries create files readable by their owner only.
        os.replace(part, target)


def write_whole(target: Path, text: str) -> None:
    """Writes a small file atomically and creates its parent directories.

    Bytes of names that are not UTF-8 are escaped, as \\xe9.
    """
    with whole_output(target) as part:
        part.write_text(text, encoding="utf-8", errors="backslashreplace")


def _mode_for(target: Path, private: Path) -> int:
    """Returns the mode of the file at `target`, or that of a new file."""
    if target.is_symlink() or not target.exists():
        target = private / ".mode"
        target.touch()
    return stat.S_IMODE(target.stat().st_mode)


class FullDiskError(UserError):
    """The disk is full."""


def is_full_disk(error: BaseException) -> bool:
    """Whether a full disk caused an error, from any library."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        # C++ libraries, such as those that write arrays and records, keep only the message.
        if any(os.strerror(number).lower() in str(error).lower() for number in FULL):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def full_disk_told(where: object) -> Iterator[None]:
    """Converts errors of a full disk to `FullDiskError`; `where` is the output.

    Raises:
        FullDiskError: the disk is full.
    """
    try:
        yield
    except UserError:  # Already has a message.
        raise
    except Exception as error:
        if not is_full_disk(error):
            raise
        raise FullDiskError(
            f"{where}: no room is left on the disk, or of the quota; make room, and the same "
            "command goes on."
        ) from error


def open_lock_file(path: Path) -> IO[bytes]:
    """Opens a lock file for reading and writing and creates it if missing.

    Raises:
        OSError: it cannot be opened, or is a symbolic link, which could point anywhere.
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
    """Same as `lock`, but waits for the other process and prints that it does.

    Args:
      file: the open file.
      work: what the other process does, as in "prepares the data".
      limit: seconds to wait.

    Raises:
        UserError: the wait exceeds `limit`.
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
    """Admits one process at a time; the others wait and print that another does `work`.

    The empty `path` is kept: removing it could admit two processes.

    Raises:
        OSError: `path` cannot be written.
        UserError: the other takes longer than a day.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_lock_file(path) as file:
        lock_in_turn(file, work)
        yield
