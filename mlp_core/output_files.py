"""Files that commands write: new ones where users name them, and whole or not at all."""

import os
from collections.abc import Sequence
from pathlib import Path

from mlp_core.errors import UserError


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


def write_whole(target: Path, text: str) -> None:
    """Writes a small file, whole or not at all, and the folders on the way to it."""
    temporary = target.with_name(f".{target.name}.tmp")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, target)
