"""The files of pictures below a folder, told by their suffix.

Hidden files and folders are skipped. Links are followed; a folder counts once however many links
lead to it, and not at all where a link inside of it leads back.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from mlp_core.errors import UserError

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".avif", ".jp2"),
    *(".tif", ".tiff", ".ppm", ".pgm"),
)


def pictures_below(folder: Path | str, others: list[str] | None = None) -> list[str]:
    """Paths of the pictures in a folder and in those below it.

    Args:
      folder: where to look; links that lead to it or to a folder around it are not followed.
      others: where the names of files without such a suffix are added.

    Raises:
        UserError: a folder cannot be listed.
    """
    folder = os.fspath(folder)
    real = os.path.realpath(folder)
    seen = {
        str(parent) for path in (real, os.path.abspath(folder)) for parent in Path(path).parents
    }
    pictures: list[str] = []
    # Folders before links, so that the path of a picture does not depend on the order of listing.
    folders, links = [(folder, real)], []
    while folders or links:
        place, real = folders.pop() if folders else links.pop(0)
        if real in seen:
            continue
        seen.add(real)
        for entry in entries(place):
            if entry.is_dir(follow_symlinks=False):
                folders.append((entry.path, os.path.join(real, entry.name)))
            elif entry.is_symlink() and os.path.isdir(entry.path):
                links.append((entry.path, os.path.realpath(entry.path)))
            elif is_named_as_picture(entry.name):
                pictures.append(entry.path)
            elif others is not None:
                others.append(entry.name)
        links.sort()
    return pictures


def holds_picture(folder: Path | str) -> bool:
    """Whether a picture lies in the folder itself; raises as `pictures_below`."""
    return any(
        is_named_as_picture(entry.name) and not os.path.isdir(entry.path)
        for entry in entries(folder)
    )


def is_named_as_picture(name: str) -> bool:
    """Whether a file may be a picture, by its name."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def subfolders(folder: Path | str) -> list[str]:
    """The names of the folders in a folder, sorted; raises as `pictures_below`."""
    return sorted(entry.name for entry in entries(folder) if os.path.isdir(entry.path))


def entries(folder: Path | str) -> Iterator[os.DirEntry]:
    """What lies in a folder, but for hidden entries; raises as `pictures_below`."""
    try:
        with os.scandir(folder) as found:
            yield from (entry for entry in found if not entry.name.startswith("."))
    except OSError as error:
        raise UserError(
            f"{as_text(folder)} cannot be listed ({error.strerror or error})."
        ) from error


def as_text(path: Path | str) -> str:
    """A path in valid Unicode: bytes that are not UTF-8 become \\xNN."""
    return os.fsencode(path).decode(errors="backslashreplace")
