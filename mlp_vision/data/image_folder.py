"""Image directories as a data set: DATA/SPLIT/CLASS/..., as in ImageNet.

    DATA/train/cat/any_name.jpg         DATA/train/n01440764/n01440764_10026.JPEG
    DATA/test/cat/another.png           DATA/val/n01440764/ILSVRC2012_val_00000293.JPEG

Or DATA/CLASS/..., without splits, if no directory is named like a split and the class directories
contain images directly. All of it is the split `train`, of which parts such as train[:90%] can be
read. In other split names, characters other than letters, digits and _ become _: DATA/test-2 is
`test_2`.

Hidden files and files without an image suffix are skipped; subdirectories of a class, including
symlinks, are searched too. See `pictures_below`, and `mlp_core.data.classes` for the class order.
"""

import copy
import dataclasses
import hashlib
import os
import re
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import numpy as np
from tqdm import tqdm

from mlp_core.data.classes import in_class_order, numbers_in
from mlp_core.data.sources import digest_of, sampled_indices
from mlp_core.data.splits import parts_of
from mlp_core.errors import UserError
from mlp_core.process.console import say
from mlp_core.process.files import read_bytes
from mlp_vision.data.image_codec import MOST_PICTURE_BYTES, BadPictureError

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".avif", ".jp2"),
    *(".tif", ".tiff", ".ppm", ".pgm"),
)
VALIDATION_NAMES = ("val", "valid")
# Directories with these names, in any case, are not classes.
SPLIT_NAMES = {
    *("train", "training", "test", "testing", *VALIDATION_NAMES, "validation", "dev", "eval"),
    "evaluation",
}
SCANNING_THREADS = 16  # Many, since they mostly wait for network storage.
DIGESTED_BYTES = 1 << 16  # Per sampled file.
NAME_OF_SPLIT = re.compile(r"\w+")  # Other characters are slice syntax.
NAMED = 5  # Maximum number of directories listed in a message.


class PackedPaths:
    """Paths concatenated in one array, since worker processes share arrays but not strings."""

    def __init__(self, paths: Sequence[str]):
        """Packs `paths`."""
        encoded = [os.fsencode(path) for path in paths]
        self._bytes = np.frombuffer(b"".join(encoded), np.uint8)
        self._ends = np.cumsum([0, *map(len, encoded)])

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """The bytes of all paths, and their end offsets."""
        return self._bytes, self._ends

    def __len__(self) -> int:
        """Number of paths."""
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> str:
        """Returns the path at a non-negative `index`."""
        return os.fsdecode(self._bytes[self._ends[index] : self._ends[index + 1]].tobytes())


def pictures_below(folder: Path | str, others: list[str] | None = None) -> list[str]:
    """Returns the paths of the images in a directory and its subdirectories.

    Args:
      folder: the directory; symlinks to it or to its parents are not followed.
      others: a list to which the names of files without an image suffix are appended.

    Raises:
        UserError: a directory cannot be listed.
    """
    folder = os.fspath(folder)
    real = os.path.realpath(folder)
    seen = {
        str(parent) for path in (real, os.path.abspath(folder)) for parent in Path(path).parents
    }
    pictures: list[str] = []
    # Directories precede symlinks, so that image paths do not depend on the listing order.
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
    """Whether the directory itself contains an image; raises as `pictures_below`."""
    return any(
        is_named_as_picture(entry.name) and not os.path.isdir(entry.path)
        for entry in entries(folder)
    )


def is_named_as_picture(name: str) -> bool:
    """Whether a file name is that of an image."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def subfolders(folder: Path | str) -> list[str]:
    """Returns the sorted names of the subdirectories; raises as `pictures_below`."""
    return sorted(entry.name for entry in entries(folder) if os.path.isdir(entry.path))


def entries(folder: Path | str) -> Iterator[os.DirEntry]:
    """Yields the non-hidden entries of a directory; raises as `pictures_below`."""
    try:
        with os.scandir(folder) as found:
            yield from (entry for entry in found if not entry.name.startswith("."))
    except OSError as error:
        raise UserError(
            f"{as_text(folder)} cannot be listed ({error.strerror or error})."
        ) from error


def as_text(path: Path | str) -> str:
    """Returns a path in valid Unicode: bytes that are not UTF-8 become \\xNN."""
    return os.fsencode(path).decode(errors="backslashreplace")


@dataclasses.dataclass(frozen=True)
class FolderSplit:
    """The images of one split, in an order that mixes the classes."""

    paths: list[str]  # Relative to the data set's directory.
    labels: np.ndarray  # int32 [number of images].


class FolderRecords:
    """Files as encoded images; see `photos.PhotoRecords`."""

    def __init__(self, root: Path, paths: list[str], labels: np.ndarray):
        """Takes paths relative to `root`, with one label each."""
        self._root, self._paths, self._labels = root, PackedPaths(paths), labels

    def __len__(self) -> int:
        """Number of images."""
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[bytes, int]:
        """Returns the content of a file and its label.

        Raises:
            BadPictureError: the file cannot be read.
        """
        try:
            content = read_bytes(self._root / self._paths[index], MOST_PICTURE_BYTES)
        except OSError as error:
            raise BadPictureError(f"unreadable: {error.strerror or error}") from error
        except ValueError as error:
            raise BadPictureError(str(error)) from error
        return content, int(self._labels[index])

    def name(self, index: int) -> str:
        """Returns the file's path relative to the data set's directory."""
        return as_text(self._paths[index])

    def file_name(self, index: int) -> str:
        """Returns the file's name."""
        return os.path.basename(self._paths[index])

    def digest(self) -> str:
        """See `Source`; covers all relative paths, sizes and labels."""
        parts = np.array_split(np.arange(len(self)), len(self) // 1000 + 1)
        with ThreadPoolExecutor(SCANNING_THREADS) as pool:
            sizes = np.concatenate(list(pool.map(self._sizes, parts)))
            readable = [i for i in sampled_indices(len(self)).tolist() if sizes[i] >= 0]
            sample = list(pool.map(self._beginning, readable))
        return digest_of([*self._paths.arrays, self._labels, sizes, *sample])

    def _sizes(self, indices: np.ndarray) -> np.ndarray:
        """Returns file sizes in bytes; -1 for non-regular files, which training reports."""
        root = os.fspath(self._root)  # Joining strings takes a third of the time of joining paths.
        return np.array([_size(f"{root}/{self._paths[i]}") for i in indices], np.int64)

    def _beginning(self, index: int) -> bytes:
        try:
            with open(self._root / self._paths[index], "rb") as file:
                return file.read(DIGESTED_BYTES)
        except OSError:  # Training replaces and counts unreadable images.
            return b""


class FolderDataset:
    """An image directory; splits are scanned on first use.

    The classes are the subdirectories of the split `train`, or of the only split. The order of the
    examples depends only on their relative paths and mixes the classes.
    """

    in_memory = False

    def __init__(self, root: Path):
        """Scans `root` and the split that defines the classes.

        Raises:
            UserError: the layout is neither DATA/SPLIT/CLASS/image nor DATA/CLASS/image, or there
              are fewer than two classes, or a class has no images.
        """
        root = root.absolute()
        self.name = as_text(root)
        self._root = root
        self._folders = _folders_of_splits(root)
        self._classes_of = _split_of_classes(root, self._folders)
        self._found: dict[str, FolderSplit] = {}
        folders = subfolders(root / self._classes_of)
        where = as_text(root / self._classes_of)
        if len(folders) < 2:
            found = f"only the class folder {as_text(folders[0])}" if folders else "no class folder"
            raise UserError(
                f"config.data.name: {where} has {found}; there must be two or more. "
                f"{_expected(root)}"
            )
        self.class_names = in_class_order(map(as_text, folders))
        if len(set(self.class_names)) < len(folders):
            raise UserError(
                f"config.data.name: two folders in {where} have the same name once bytes that are "
                "not UTF-8 are spelt out; rename one."
            )
        counts = np.bincount(self._in_folder(self._classes_of).labels, minlength=len(folders))
        if not counts.all():
            empty = _listed(self.class_names[i] for i in np.flatnonzero(counts == 0))
            raise UserError(
                f"config.data.name: no picture ({', '.join(SUFFIXES)}) in {where}/{empty}; fill or "
                "remove what is empty."
            )

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def splits(self) -> list[str]:
        """Split names."""
        return list(self._folders)

    def with_classes(self, names: Sequence[str]) -> Self:
        """Returns the data set with labels that index `names`, which include all class names."""
        numbers = np.array(numbers_in(names, self.class_names), np.int32)
        dataset = copy.copy(self)
        dataset.class_names = list(names)
        dataset._found = {
            folder: FolderSplit(split.paths, numbers[split.labels])
            for folder, split in self._found.items()
        }
        return dataset

    def num_examples(self, split: str) -> int:
        """Returns the number of images in a split such as "train[:98%]" or "train+validation".

        Raises:
            ValueError: the split does not exist.
            UserError: its classes do not match those of the training split.
        """
        return sum(len(part.paths[cut]) for part, cut in self._parts(split))

    def records(self, split: str) -> FolderRecords:
        """Opens the files of a split; raises as `num_examples` does."""
        paths, labels = [], []
        for part, cut in self._parts(split):
            paths += part.paths[cut]
            labels.append(part.labels[cut])
        return FolderRecords(self._root, paths, np.concatenate(labels))

    def _parts(self, split: str) -> list[tuple[FolderSplit, slice]]:
        parts = parts_of(split, self._folders, lambda name: len(self._split(name).paths))
        return [(self._split(name), cut) for name, cut in parts]

    def _split(self, name: str) -> FolderSplit:
        return self._in_folder(self._folders[name])

    def _in_folder(self, folder: str) -> FolderSplit:
        if folder not in self._found:
            self._found[folder] = self._list(folder)
        return self._found[folder]

    def _list(self, folder: str) -> FolderSplit:
        """Lists the images in a split's directory."""
        root = self._root / folder
        where, classes = as_text(root), subfolders(root)
        if not classes:
            raise UserError(
                f"config.data.name: {where} has no class folder. {_expected(self._root)}"
            )
        number_of = {name: number for number, name in enumerate(self.class_names)}
        if unknown := [name for name in map(as_text, classes) if name not in number_of]:
            raise UserError(
                f"config.data.name: {where} has class folders that "
                f"{as_text(self._root / self._classes_of)} has not: {_listed(unknown)}; rename or "
                "remove them."
            )
        others: list[str] = []
        with ThreadPoolExecutor(SCANNING_THREADS) as pool:
            found = list(
                tqdm(
                    pool.map(lambda name: pictures_below(root / name, others), classes),
                    desc=f"listing {where}",
                    total=len(classes),
                    unit="classes",
                    delay=1,
                    leave=False,
                    disable=not sys.stderr.isatty(),
                )
            )
        start = len(os.path.join(self._root, ""))
        paths = [path[start:] for pictures in found for path in pictures]
        labels = np.repeat([number_of[as_text(name)] for name in classes], [len(p) for p in found])
        say(
            f"Found {len(paths):,} pictures of {len(classes):,} classes in {where}"
            + _passed_over(others)
        )
        order = sorted(range(len(paths)), key=lambda i: _hash(paths[i]))
        return FolderSplit([paths[i] for i in order], labels[order].astype(np.int32))


def _folders_of_splits(root: Path) -> dict[str, str]:
    """Returns the directory of each split, relative to `root`; "" for `root` itself."""
    names = subfolders(root)
    if _are_classes(root, names):
        return {"train": ""}
    # Exact names come first, so that renamed directories cannot replace them.
    folders = {name: name for name in names if NAME_OF_SPLIT.fullmatch(name)}
    for name in names:
        folders.setdefault(re.sub(r"\W", "_", as_text(name)), name)
    for name in VALIDATION_NAMES:
        if name in folders:
            folders.setdefault("validation", name)
    return folders


def _are_classes(root: Path, names: Sequence[str]) -> bool:
    """Whether the directories in `root` are classes rather than splits."""
    if any(name.lower() in SPLIT_NAMES for name in names):
        return False
    hold = [holds_picture(root / name) for name in names]
    # A directory that contains only directories may be a split.
    return any(hold) and all(
        has_pictures or not subfolders(root / name)
        for name, has_pictures in zip(names, hold, strict=True)
    )


def _split_of_classes(root: Path, folders: Mapping[str, str]) -> str:
    """Returns the directory that defines the classes: `train`, or the only split.

    Raises:
        UserError: there are several splits, but no `train`.
    """
    names = set(folders.values())
    if "train" in folders:
        return folders["train"]
    if len(names) == 1:
        return names.pop()
    raise UserError(
        f"config.data.name: {as_text(root)} has no folder `train`; it has "
        f"{_listed(map(as_text, names))}. {_expected(root)}"
    )


def _size(file: str) -> int:
    """Returns the size of a file in bytes; -1 if it is not regular or not accessible."""
    try:
        status = os.stat(file)
    except OSError:
        return -1
    return status.st_size if stat.S_ISREG(status.st_mode) else -1


def _passed_over(names: list[str]) -> str:
    if not names:
        return ""
    suffixes = {Path(as_text(name)).suffix.lower() or "without suffix" for name in names}
    return f"; {len(names):,} other files are passed over ({_listed(suffixes)})"


def _hash(path: str) -> bytes:
    return hashlib.blake2b(os.fsencode(path), digest_size=16).digest()


def _listed(names) -> str:
    """Joins the first few of `names`, sorted."""
    names = sorted(names)
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more if names else "none"


def _expected(root: Path) -> str:
    root = as_text(root)
    return (
        f"Expected: {root}/train/CLASS/*.jpg and {root}/test/CLASS/*.jpg, with a folder for each "
        "of two or more classes (validation, val and valid are found too); or "
        f"{root}/CLASS/*.jpg without splits."
    )
