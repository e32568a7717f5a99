"""Image data sets: prepared by TFDS, or image directories."""

import dataclasses
import math
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, Self

import numpy as np
import tensorflow_datasets as tfds
from tqdm import tqdm

from mlp_core.data.sources import ArraySource, Source
from mlp_core.data.splits import Splits
from mlp_core.data.tfds.prepared import (
    LabelledDataset,
    damage_told,
    is_own_folder,
    open_prepared,
)
from mlp_core.data.tfds.tfrecord import TfrecordSource
from mlp_core.errors import UserError
from mlp_core.process.user_paths import user_path
from mlp_vision.data.cifar import Cifar10, Cifar100
from mlp_vision.data.digits import Digits
from mlp_vision.data.flowers import Flowers102
from mlp_vision.data.host_views import ArrayViews, View
from mlp_vision.data.image_codec import BadPictureError, decode_rgb
from mlp_vision.data.image_folder import FolderDataset
from mlp_vision.data.labels import Label, find_label
from mlp_vision.data.pets import Pets
from mlp_vision.data.photos import PhotoSource
from mlp_vision.data.synthetic import Synthetic
from mlp_vision.data.tfds_records import TfdsRecords, in_full_brightness, skipped_pictures

OWN_BUILDERS = {
    builder.name: builder for builder in (Cifar10, Cifar100, Digits, Flowers102, Pets, Synthetic)
}
MEMORY_LIMIT_BYTES = 8 << 30
DECODE_BLOCK = 1000  # Examples read and decoded at once.
# Several threads decode smaller images more slowly than one, since they wait for Python's lock.
PIXELS_FOR_THREADS = 64 * 64


class ImageDataset(Splits, Protocol):
    """Images with one label each, in splits, which `open_source` reads."""

    num_classes: int
    class_names: list[str]  # Numbers if there are no names.
    in_memory: bool  # Read by `load` at once; otherwise batch by batch from `records`.

    def with_classes(self, names: Sequence[str]) -> Self:
        """Returns the data set with labels that index `names`, which include all class names."""


def open_source(
    dataset: ImageDataset, split: str, view: View, seed: int = 0, on_host: bool = False
) -> Source:
    """Opens a split as `image`, uint8, and `label`, int32 [B].

    If `dataset.in_memory`, images are the originals, [B, H, W, 3], and views are computed on the
    device. Otherwise, or for training with `on_host`, images are views by `view`, [B, N, N, 3],
    drawn with `seed` in training.

    Raises:
        UserError: a file cannot be read, or an example has no label.
    """
    if dataset.in_memory:
        pictures = dataset.load(split)
        return ArrayViews(pictures, view, seed) if on_host else pictures
    return PhotoSource(f"{dataset.name}, {split}", dataset.records(split), view, seed)


@dataclasses.dataclass(frozen=True)
class TfdsDataset(LabelledDataset):
    """An image data set prepared by TFDS."""

    label: Label

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.label.class_names)

    @property
    def class_names(self) -> list[str]:
        """The class names, in order; numbers if the data set has none."""
        return list(self.label.class_names)

    def with_classes(self, names: Sequence[str]) -> Self:
        """See `ImageDataset`."""
        return dataclasses.replace(self, label=self.label.with_classes(names))

    @property
    def in_memory(self) -> bool:
        """Whether all images have the same size and all splits together fit in memory."""
        shape = self.builder.info.features["image"].shape[:2]
        if None in shape:
            return False
        examples = sum(split.num_examples for split in self.builder.info.splits.values())
        return examples * math.prod(shape) * 3 <= MEMORY_LIMIT_BYTES

    def load(self, split: str) -> ArraySource:
        """Loads a split such as "train[:98%]": `image`, uint8 [N, H, W, 3], and `label`, int32 [N].

        Raises:
            UserError: a file or image cannot be read, or an example has no label.
        """
        with damage_told(f"data set {self.name!r}"):
            arrays = self._read(split)
        unlabelled = np.flatnonzero((arrays["label"] < 0) | (arrays["label"] >= self.num_classes))
        if unlabelled.size:
            raise UserError(
                f"{self.name}, split {split}: example {unlabelled[0]} and {unlabelled.size - 1} "
                f"others have no label between 0 and {self.num_classes - 1}; choose another split."
            )
        return ArraySource(arrays)

    def records(self, split: str) -> TfdsRecords:
        """Opens the encoded images and labels of a split.

        Raises:
            UserError: a file cannot be read.
        """
        with damage_told(f"data set {self.name!r}"):
            return TfdsRecords(self.name, self.builder, split, self.label)

    def _read(self, split: str) -> dict[str, np.ndarray]:
        decoders = skipped_pictures(self.builder.info.features)
        if self.builder.info.file_format == tfds.core.FileFormat.TFRECORD:
            records = TfrecordSource(self.builder, split, decoders)
        else:
            records = self.builder.as_data_source(split, decoders=decoders)
        height, width, _ = self.builder.info.features["image"].shape
        images = np.empty((len(records), height, width, 3), np.uint8)
        labels = np.empty(len(records), np.int32)

        def read(first: int) -> None:
            block = range(first, min(first + DECODE_BLOCK, len(records)))
            for i, record in zip(block, records.__getitems__(list(block)), strict=True):
                try:
                    picture = decode_rgb(in_full_brightness(self.builder.name, record["image"]))
                    if picture.shape != images.shape[1:]:
                        raise BadPictureError(f"not of {height} x {width} pixels")
                except BadPictureError as error:
                    raise UserError(
                        f"{self.name}, split {split}, example {i}: the picture is {error}."
                    ) from error
                images[i] = picture
                labels[i] = self.label.of(record)

        starts = range(0, len(records), DECODE_BLOCK)
        with ThreadPoolExecutor(None if height * width > PIXELS_FOR_THREADS else 1) as pool:
            list(
                tqdm(
                    pool.map(read, starts),
                    desc=f"reading {self.name} {split}",
                    total=len(starts),
                    unit="k",
                    leave=False,
                    disable=not sys.stderr.isatty(),
                )
            )
        return {"image": images, "label": labels}


def open_image_dataset(name: str, data_dir: str | None, label: str | None = None) -> ImageDataset:
    """Opens a data set on disk, or downloads and prepares one of `OWN_BUILDERS`.

    Args:
      name: a TFDS name, or the path of a directory prepared by TFDS or of an image directory (see
        `image_folder`).
      data_dir: the TFDS directory; None for `$TFDS_DATA_DIR` or `~/tensorflow_datasets`.
      label: the label, see `labels.find_label`; None for the feature `label`.

    Raises:
        UserError: the data set is missing and cannot be prepared, or cannot be trained on.
    """
    if is_folder_of_pictures(name):
        if label is not None:
            raise UserError(
                f"config.data.label: {name} is a folder of pictures, whose labels are the names of "
                f"their folders, and not {label!r}; leave it unset."
            )
        return FolderDataset(user_path(name))
    builder = open_prepared(name, data_dir, OWN_BUILDERS)
    _check_pictures(name, builder)
    dataset = TfdsDataset(name, builder, find_label(name, builder.info.features, label))
    _check_format(dataset)
    return dataset


def is_folder_of_pictures(name: str) -> bool:
    """Whether `name` is an image directory; raises as `prepared.is_own_folder` does."""
    return is_own_folder(name, OWN_BUILDERS)


def _check_pictures(name: str, builder: tfds.core.DatasetBuilder) -> None:
    features = builder.info.features
    if "image" not in features:
        raise UserError(
            f"config.data.name: {name} has no feature `image` to classify; it has "
            f"{', '.join(features)}."
        )
    if features["image"].np_dtype != np.uint8:
        raise UserError(
            f"config.data.name: the pictures of {name} are {features['image'].np_dtype}; only "
            "8 bits a channel are read."
        )


def _check_format(dataset: TfdsDataset) -> None:
    name, builder = dataset.name, dataset.builder
    if not dataset.in_memory and builder.info.file_format != tfds.core.FileFormat.ARRAY_RECORD:
        raise UserError(
            f"config.data.name: the pictures of {name} lie in {builder.info.file_format.value} "
            "files, which cannot be read in random order; `python launch/prepare.py --config=...` "
            "converts them once to array_record."
        )
