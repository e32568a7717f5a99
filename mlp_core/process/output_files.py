"""Files that commands write: new ones where users name them, and whole or not at all."""

import errno
import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mlp_core.errors import UserError
from mlp_core.process.preemption import removed_at_end


def check_output(output: Path, suffixes: Sequence[str] = (), flag: str = "output") -> None:
    """Refuses a file that cannot be written, before any work is done for it.

    Args:
      output: the file; folders on the way to it may be missing.
      suffixes: of the formats that can be written; none: any.
      flag: what names the file, for messages.

    Raises:
        UserError: the suffix is of no format, something lies there, or nothing can be written.
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

    The path is in a new private directory beside `target`, so no other user can foresee it or put
    a link there. Nothing is left of it after an error. The result has the mode that the umask
    gives, or that of the file it replaces. A link at `target` is replaced; the file it points to
    stays as it is. Missing parent directories are created.

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
            part.chmod(mode)  # Some libraries create files that only their owner can read.
        os.replace(part, target)


def write_whole(target: Path, text: str) -> None:
    """Writes a small file, whole or not at all, and the folders on the way to it.

    Parts of names that are not UTF-8 are spelled out, as \\xe9.
    """
    with whole_output(target) as part:
        part.write_text(text, encoding="utf-8", errors="backslashreplace")


def _mode_for(target: Path, private: Path) -> int:
    """The mode of the file at `target`, or that of a new file."""
    if target.is_symlink() or not target.exists():
        target = private / ".mode"
        target.touch()
    return stat.S_IMODE(target.stat().st_mode)
