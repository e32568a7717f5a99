"""Paths as users write them in flags and configurations."""

import os
from pathlib import Path

from mlp_core.errors import UserError


def user_path(text: str | Path, where: str = "") -> Path:
    """The path that `text` stands for: `~` and `~user` at its beginning are home directories.

    Args:
      text: as the user wrote it.
      where: what precedes it in messages, such as "--workdir=".

    Raises:
        UserError: there is no such home directory, or no file can have this name.
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
