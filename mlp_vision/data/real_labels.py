"""ReaL: reassessed labels of the ImageNet validation images.

Source: Beyer et al., Are we done with ImageNet? (arXiv:2006.07159). The file is `real.json` of
google-research/reassessed-imagenet: a list of class numbers for each of the 50,000 images, in the
order of their file names. An image may have several correct labels; images without labels are not
scored.

Shapes: B batch, K = 1,000 classes.
"""

import dataclasses
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlp_core.data.classes import numbers_in
from mlp_core.data.sources import Source
from mlp_core.errors import UserError
from mlp_core.process.files import SMALL_FILE_BYTES, read_json
from mlp_core.process.user_paths import cache_dir, user_path
from mlp_core.weights.downloads import RemoteFile, fetch, https_url, place_in
from mlp_vision.data.image_dataset import ImageDataset
from mlp_vision.data.photos import PhotoRecords

NUM_PICTURES, NUM_CLASSES = 50_000, 1_000
FILE_NAME = re.compile(r"ILSVRC2012_val_(\d{8})\.JPEG", re.IGNORECASE)
FIELD = "config.data.real_labels"
EXPECTED = "it is no real.json of google-research/reassessed-imagenet"


@dataclasses.dataclass(frozen=True)
class RealLabels:
    """The labels of all validation images.

    Attributes:
      right: bool [50,000, K], the correct classes of each image.
      class_names: the names of the columns, as in an ImageNet data set.
    """

    right: np.ndarray
    class_names: Sequence[str] = ()

    def checked(self, dataset: ImageDataset, splits: Iterable[str]) -> "RealLabels":
        """Returns the labels with the class names of a data set in ImageNet's class order.

        Raises:
            UserError: the data set does not have ImageNet's number of classes or file names, or no
              split has these images.
        """
        if dataset.num_classes != NUM_CLASSES:
            raise UserError(
                f"{FIELD}: these are labels of ImageNet's {NUM_CLASSES:,} classes, and "
                f"{dataset.name} has {dataset.num_classes:,}; leave them unset."
            )
        splits = list(splits)
        if not any(self._are_for(dataset, split) for split in splits):
            raise UserError(
                f"{FIELD}: no split that is evaluated ({', '.join(splits)}) begins with a picture "
                f"of ImageNet's validation set, such as ILSVRC2012_val_00000001.JPEG, in "
                f"{dataset.name}."
            )
        return dataclasses.replace(self, class_names=dataset.class_names)

    def beside(self, source: Source, dataset: ImageDataset, split: str) -> Source:
        """Adds `real` to the batches of `source`, the images of `split`, if they have these labels.

        The classes of `dataset` may have been reordered since `checked`.

        Raises:
            UserError: the data set does not store file names.
        """
        if not self._are_for(dataset, split):
            return source
        where = f"{dataset.name}, {split}"
        right = np.zeros((NUM_PICTURES, len(dataset.class_names)), bool)
        right[:, numbers_in(dataset.class_names, self.class_names)] = self.right
        return ReallyLabelled(source, dataset.records(split), right, where)

    def _are_for(self, dataset: ImageDataset, split: str) -> bool:
        if dataset.in_memory:
            raise UserError(
                f"{FIELD}: the pictures of {dataset.name} are all of one size, and so read without "
                "their file names; name ImageNet itself, or a folder of its pictures."
            )
        return FILE_NAME.fullmatch(dataset.records(split).file_name(0)) is not None


class ReallyLabelled:
    """A source that adds `real`, bool [B, K], the correct classes, to its batches."""

    def __init__(self, source: Source, records: PhotoRecords, right: np.ndarray, where: str):
        """Takes images, the records with their file names, and all labels."""
        self._source, self._records, self._right = source, records, right
        self._where = where

    def __len__(self) -> int:
        """Number of examples."""
        return len(self._source)

    def gather(self, indices: np.ndarray, draws: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Returns the examples at `indices` [B].

        Raises:
            UserError: an image is not in ImageNet's validation set, or as `Source.gather`.
        """
        numbers = [self._number(int(index)) for index in indices]
        return self._source.gather(indices, draws) | {"real": self._right[numbers]}

    def digest(self) -> str:
        """See `Source`: the digest of the wrapped source."""
        return self._source.digest()

    def _number(self, index: int) -> int:
        """Returns the index of an example's labels in the file."""
        name = self._records.file_name(index)
        match = FILE_NAME.fullmatch(name)
        number = int(match[1]) if match else 0
        if not 1 <= number <= NUM_PICTURES:
            raise UserError(
                f"{FIELD}: {name!r} in {self._where} is no picture of ImageNet's validation set, "
                "whose first is ILSVRC2012_val_00000001.JPEG."
            )
        return number - 1


def open_real_labels(source: str | None) -> RealLabels | None:
    """Reads `real.json` from a file or an https or gs URL, which is cached; None for None.

    Raises:
        UserError: the file cannot be read or downloaded, or has other content.
    """
    if source is None:
        return None
    path = locate_real_labels(source)
    try:
        return RealLabels(_parse(read_json(path)))
    except OSError as error:
        raise UserError(
            f"{FIELD}: {path} cannot be read ({error.strerror or error}); it is published as "
            "real.json of google-research/reassessed-imagenet on GitHub."
        ) from error
    except ValueError as error:
        if _is_remote(source):
            path.unlink()  # A later run downloads it again.
        raise UserError(f"{FIELD}: {source}: {EXPECTED} ({error}).") from error


def locate_real_labels(source: str, folder: Path | None = None) -> Path:
    """Returns the path of the file; downloads a URL to `folder`, by default the cache, if missing.

    Raises:
        DownloadError: the download failed.
    """
    if not _is_remote(source):
        return user_path(source, "config.data.real_labels=")
    url = https_url(source)
    place = place_in(folder or cache_dir() / "labels", url)
    return fetch(RemoteFile(url, most_bytes=SMALL_FILE_BYTES), place)


def _is_remote(source: str) -> bool:
    return "://" in source


def _parse(lists: Any) -> np.ndarray:
    """Returns `RealLabels.right`; raises ValueError unless given 50,000 lists of classes."""
    if not isinstance(lists, list) or len(lists) != NUM_PICTURES:
        count = f"has {len(lists):,}" if isinstance(lists, list) else "is no list"
        raise ValueError(f"there must be {NUM_PICTURES:,} lists, and it {count}")
    right = np.zeros((NUM_PICTURES, NUM_CLASSES), bool)
    for i, labels in enumerate(lists):
        if not isinstance(labels, list) or not all(
            type(label) is int and 0 <= label < NUM_CLASSES for label in labels
        ):
            raise ValueError(
                f"entry {i:,} must list class numbers from 0 to {NUM_CLASSES - 1}, and is "
                f"{str(labels)[:60]}"
            )
        right[i, labels] = True
    return right
