"""Paths as users write them in flags and configs."""

import os
from pathlib import Path

from mlp_core.errors import UserError


def user_path(text: str | Path, where: str = "") -> Path:
    """Returns `text` as a path with a leading `~` or `~user` expanded.

    Args:
      text: the user's input.
      where: what precedes it in messages, such as "--workdir=".

    Raises:
        UserError: the home directory does not exist, or the name is invalid.
    """
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:
        raise UserError(
            f"{where}{text}: there is no home directory {Path(text).parts[0]} on this machine; "
            "write the whole path."
        ) from error
    try:
        is_possible = b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        is_possible = False
    if not is_possible:
        raise UserError(f"{where}{str(text)!r}: no file can have this name on this system.")
    return path


def check_utf8(path: Path, where: str = "") -> None:
    """Checks that the name of a directory for checkpoints or records is UTF-8.

    The libraries that write them support no other names. Messages begin with `where`.
    """
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"{where}{path}: only names in UTF-8 can hold checkpoints and records; name another "
            "directory."
        ) from error


def cache_dir() -> Path:
    """Returns the directory of downloads and compiled programs: `$XDG_CACHE_HOME/all-mlp`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "all-mlp"
