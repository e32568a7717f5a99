"""Folders of pictures as a data set: DATA/SPLIT/CLASS/..., ImageNet's own tree among them.

    DATA/train/cat/any_name.jpg         DATA/train/n01440764/n01440764_10026.JPEG
    DATA/test/cat/another.png           DATA/val/n01440764/ILSVRC2012_val_00000293.JPEG

Files without the suffix of a picture and hidden ones are passed over; folders below a class are
searched too.
"""

import dataclasses
import hashlib
import os
import stat
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mlp_core.console import say
from mlp_core.datasets.splits import parts_of
from mlp_core.errors import UserError
from mlp_core.small_files import read_bytes
from mlp_core.source import digest_of, sampled_indices
from mlp_vision.datasets.image_codec import MOST_PICTURE_BYTES, BadPictureError
from mlp_vision.datasets.packed_paths import PackedPaths

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".avif", ".jp2"),
    *(".tif", ".tiff", ".ppm", ".pgm"),
)
VALIDATION_NAMES = ("val", "valid")
SCANNING_THREADS = 16  # They wait for a network's disk, most of the time.
DIGESTED_BYTES = 1 << 16  # Of a sampled file.
NAMED = 5  # Folders that a message lists at most.


@dataclasses.dataclass(frozen=True)
class FolderSplit:
    """The pictures of one split, in an order that mixes the classes."""

    paths: list[str]  # Below the data set's folder.
    labels: np.ndarray  # int32 [number of pictures].


class FolderRecords:
    """Files as encoded pictures; see `photos.PhotoRecords`."""

    def __init__(self, root: Path, paths: list[str], labels: np.ndarray):
        """Takes paths below `root` and a label each."""
        self._root, self._paths, self._labels = root, PackedPaths(paths), labels

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[bytes, int]:
        """The content of a file, and its label.

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
        """The file's path below the data set's folder."""
        return self._paths[index]

    def file_name(self, index: int) -> str:
        """The file's name."""
        return os.path.basename(self._paths[index])

    def digest(self) -> str:
        """See `Source`; covers all paths below the data set's folder, sizes and labels."""
        parts = np.array_split(np.arange(len(self)), len(self) // 1000 + 1)
        with ThreadPoolExecutor(SCANNING_THREADS) as pool:
            sizes = np.concatenate(list(pool.map(self._sizes, parts)))
            readable = [i for i in sampled_indices(len(self)).tolist() if sizes[i] >= 0]
            sample = list(pool.map(self._beginning, readable))
        return digest_of([*self._paths.arrays, self._labels, sizes, *sample])

    def _sizes(self, indices: np.ndarray) -> np.ndarray:
        """Bytes of some files; -1 for what is not a regular file, which training reports."""
        root = os.fspath(self._root)  # Joining texts takes a third of the time of joining paths.
        return np.array([_size(f"{root}/{self._paths[i]}") for i in indices], np.int64)

    def _beginning(self, index: int) -> bytes:
        try:
            with open(self._root / self._paths[index], "rb") as file:
                return file.read(DIGESTED_BYTES)
        except OSError:  # Left to training, which replaces unreadable images and counts them.
            return b""


class FolderDataset:
    """A folder of pictures of any size; splits are scanned when they are first asked for.

    The classes are the sorted folder names of the split `train`, or of the only split there is.
    The order of the examples follows from their relative paths alone.
    """

    in_memory = False

    def __init__(self, root: Path):
        """Looks at `root` and at the split that names the classes.

        Raises:
            UserError: it is not built as `DATA/SPLIT/CLASS/picture`, or has fewer than two classes,
              or a class without a picture.
        """
        root = root.absolute()
        self.name = str(root)
        self._root = root
        self._folders = {name: name for name in _subfolders(root)}
        for name in VALIDATION_NAMES:
            if name in self._folders:
                self._folders.setdefault("validation", name)
        names = set(self._folders.values())
        if "train" not in names and len(names) != 1:
            raise UserError(
                f"config.data.name: {root} has no folder `train`; it has {_listed(names)}. "
                f"{_expected(root)}"
            )
        self._classes_of = "train" if "train" in names else names.pop()
        self._listed: dict[str, FolderSplit] = {}
        classes = _subfolders(root / self._classes_of)
        if len(classes) < 2:
            raise UserError(
                f"config.data.name: {root / self._classes_of} has "
                f"{f'only the class folder {classes[0]}' if classes else 'no class folder'}; there "
                f"must be two or more. {_expected(root)}"
            )
        self.class_names = classes
        counts = np.bincount(self._split(self._classes_of).labels, minlength=len(classes))
        if not counts.all():
            empty = [classes[i] for i in np.flatnonzero(counts == 0)]
            raise UserError(
                f"config.data.name: no picture ({', '.join(SUFFIXES)}) in "
                f"{root / self._classes_of}/{_listed(empty)}; fill or remove what is empty."
            )

    @property
    def num_classes(self) -> int:
        """How many different labels there are."""
        return len(self.class_names)

    @property
    def splits(self) -> list[str]:
        """The names of the splits."""
        return list(self._folders)

    def num_examples(self, split: str) -> int:
        """How many pictures a split such as "train[:98%]" or "train+validation" has.

        Raises:
            ValueError: there is no such split.
            UserError: its folder is not built as that of the training split.
        """
        return sum(len(part.paths[cut]) for part, cut in self._parts(split))

    def records(self, split: str) -> FolderRecords:
        """The files of a split; raises as `num_examples` does."""
        paths, labels = [], []
        for part, cut in self._parts(split):
            paths += part.paths[cut]
            labels.append(part.labels[cut])
        return FolderRecords(self._root, paths, np.concatenate(labels))

    def _parts(self, split: str) -> list[tuple[FolderSplit, slice]]:
        parts = parts_of(split, self._folders, lambda name: len(self._split(name).paths))
        return [(self._split(name), cut) for name, cut in parts]

    def _split(self, name: str) -> FolderSplit:
        folder = self._folders[name]
        if folder not in self._listed:
            self._listed[folder] = self._list(folder)
        return self._listed[folder]

    def _list(self, folder: str) -> FolderSplit:
        """Finds the pictures of a split's folder."""
        root = self._root / folder
        classes = _subfolders(root)
        if not classes:
            raise UserError(
                f"config.data.name: {root} has no class folder. {_expected(self._root)}"
            )
        labels = {name: label for label, name in enumerate(self.class_names)}
        unknown = [name for name in classes if name not in labels]
        if unknown:
            raise UserError(
                f"config.data.name: {root} has class folders that "
                f"{self._root / self._classes_of} has not: {_listed(unknown)}; rename or remove "
                "them."
            )
        others: list[str] = []
        with ThreadPoolExecutor(SCANNING_THREADS) as pool:
            found = list(
                tqdm(
                    pool.map(lambda name: list(_pictures(f"{root}/{name}", others)), classes),
                    desc=f"listing {root}",
                    total=len(classes),
                    unit="classes",
                    delay=1,
                    leave=False,
                    disable=not sys.stderr.isatty(),
                )
            )
        start = len(os.path.join(self._root, ""))
        paths = [path[start:] for pictures in found for path in pictures]
        labels = np.repeat([labels[name] for name in classes], [len(p) for p in found])
        say(
            f"Found {len(paths):,} pictures of {len(classes):,} classes in {root}"
            + _passed_over(others)
        )
        order = sorted(range(len(paths)), key=lambda i: _hash(paths[i]))
        return FolderSplit([paths[i] for i in order], labels[order].astype(np.int32))


def _pictures(folder: str, others: list[str]) -> Iterator[str]:
    """Paths of the pictures below `folder`, by suffix; names of other files go to `others`."""
    for entry in _entries(folder):
        if entry.name.lower().endswith(SUFFIXES):
            yield entry.path
        elif entry.is_dir(follow_symlinks=False):
            yield from _pictures(entry.path, others)
        else:
            others.append(entry.name)


def _size(file: str) -> int:
    """Bytes of a file; -1 for one that is not regular, such as a pipe, or cannot be looked at."""
    try:
        status = os.stat(file)
    except OSError:
        return -1
    return status.st_size if stat.S_ISREG(status.st_mode) else -1


def _passed_over(names: list[str]) -> str:
    if not names:
        return ""
    suffixes = {Path(name).suffix.lower() or "without suffix" for name in names}
    return f"; {len(names):,} other files are passed over ({_listed(suffixes)})"


def _subfolders(folder: Path) -> list[str]:
    return sorted(entry.name for entry in _entries(folder) if os.path.isdir(entry.path))


def _entries(folder: Path | str) -> Iterator[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            yield from (entry for entry in entries if not entry.name.startswith("."))
    except OSError as error:
        raise UserError(
            f"config.data.name: {folder} cannot be listed ({error.strerror or error})."
        ) from error


def _hash(path: str) -> bytes:
    return hashlib.blake2b(os.fsencode(path), digest_size=16).digest()


def _listed(names) -> str:
    """Some of `names`, in order."""
    names = sorted(names)
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more if names else "none"


def _expected(root: Path) -> str:
    return (
        f"Expected: {root}/train/CLASS/*.jpg and {root}/test/CLASS/*.jpg, with a folder for each "
        "of two or more classes (validation, val and valid are found too)."
    )
