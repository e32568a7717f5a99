"""Image data sets: by name, prepared on disk by TFDS, or folders of pictures."""

import dataclasses
import math
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core import read_only_builder
from tqdm import tqdm

from mlp_core.array_source import ArraySource
from mlp_core.console import say
from mlp_core.errors import MissingError, UserError
from mlp_core.file_lock import one_at_a_time
from mlp_core.source import Source
from mlp_vision.datasets.array_views import ArrayViews
from mlp_vision.datasets.cifar import Cifar10, Cifar100
from mlp_vision.datasets.conversion import find_converted
from mlp_vision.datasets.digits import Digits
from mlp_vision.datasets.flowers import Flowers102
from mlp_vision.datasets.image_codec import BadPictureError, decode_rgb
from mlp_vision.datasets.image_folder import FolderDataset
from mlp_vision.datasets.pets import Pets
from mlp_vision.datasets.photos import PhotoSource
from mlp_vision.datasets.synthetic import Synthetic
from mlp_vision.datasets.tfds_records import TfdsRecords, damage_told
from mlp_vision.datasets.tfrecord import TfrecordSource
from mlp_vision.host_views import View

OWN_BUILDERS = {
    builder.name: builder for builder in (Cifar10, Cifar100, Digits, Flowers102, Pets, Synthetic)
}
MEMORY_LIMIT_BYTES = 8 << 30
DECODE_BLOCK = 1000  # Examples read and decoded at a time.


class ImageDataset(Protocol):
    """Pictures with one label each, in splits; `open_source` reads one of them."""

    name: str
    num_classes: int
    class_names: list[str]  # Numbers where they have no names.
    splits: list[str]
    in_memory: bool  # Read as a whole, by `load`; else a batch at a time, from `records`.

    def num_examples(self, split: str) -> int:
        """How many examples a split such as "train[:98%]" has; ValueError or KeyError if none."""


def open_source(
    dataset: ImageDataset, split: str, view: View, seed: int = 0, on_host: bool = False
) -> Source:
    """The examples of a split, as `image`, uint8, and `label`, int32 [B].

    Where `dataset.in_memory`, pictures come as they are, [B, H, W, 3], and their views are made on
    the device. Else, or for training `on_host`, they come as `view` cuts them, [B, N, N, 3], drawn
    by `seed` in training.

    Raises:
        UserError: a file cannot be read, or an example has no label.
    """
    if dataset.in_memory:
        pictures = dataset.load(split)
        return ArrayViews(pictures, view, seed) if on_host else pictures
    return PhotoSource(f"{dataset.name}, {split}", dataset.records(split), view, seed)


@dataclasses.dataclass(frozen=True)
class TfdsDataset:
    """A data set that TFDS has prepared."""

    name: str
    builder: tfds.core.DatasetBuilder

    @property
    def in_memory(self) -> bool:
        """Whether all pictures have one size, and all splits together fit."""
        shape = self.builder.info.features["image"].shape[:2]
        if None in shape:
            return False
        examples = sum(split.num_examples for split in self.builder.info.splits.values())
        return examples * math.prod(shape) * 3 <= MEMORY_LIMIT_BYTES

    @property
    def splits(self) -> list[str]:
        """The names of the splits."""
        return list(self.builder.info.splits)

    @property
    def num_classes(self) -> int:
        """How many different labels there are."""
        return self.builder.info.features["label"].num_classes

    @property
    def class_names(self) -> list[str]:
        """The names of the labels, in order; numbers where the data set has none."""
        return list(self.builder.info.features["label"].names)

    def load(self, split: str) -> ArraySource:
        """A split, such as "train[:98%]", as `image`, uint8 [N, H, W, 3], and `label`, int32 [N].

        Raises:
            UserError: a file or picture cannot be read, or an example has no label.
        """
        with damage_told(self.name):
            arrays = self._read(split)
        unlabelled = np.flatnonzero((arrays["label"] < 0) | (arrays["label"] >= self.num_classes))
        if unlabelled.size:
            raise UserError(
                f"{self.name}, split {split}: example {unlabelled[0]} and {unlabelled.size - 1} "
                f"others have no label between 0 and {self.num_classes - 1}; choose another split."
            )
        return ArraySource(arrays)

    def records(self, split: str) -> TfdsRecords:
        """The encoded pictures and labels of a split.

        Raises:
            UserError: a file cannot be read.
        """
        with damage_told(self.name):
            return TfdsRecords(self.name, self.builder, split)

    def num_examples(self, split: str) -> int:
        """How many examples a split has."""
        return self.builder.info.splits[split].num_examples

    def _read(self, split: str) -> dict[str, np.ndarray]:
        if self.builder.info.file_format == tfds.core.FileFormat.TFRECORD:
            records = TfrecordSource(self.builder, split)
        else:
            decoders = {"image": tfds.decode.SkipDecoding()}
            records = self.builder.as_data_source(split, decoders=decoders)
        height, width, _ = self.builder.info.features["image"].shape
        images = np.empty((len(records), height, width, 3), np.uint8)
        labels = np.empty(len(records), np.int32)

        def read(first: int) -> None:
            block = range(first, min(first + DECODE_BLOCK, len(records)))
            for i, record in zip(block, records.__getitems__(list(block)), strict=True):
                try:
                    picture = decode_rgb(record["image"])
                    if picture.shape != images.shape[1:]:
                        raise BadPictureError(f"not of {height} x {width} pixels")
                except BadPictureError as error:
                    raise UserError(
                        f"{self.name}, split {split}, example {i}: the picture is {error}."
                    ) from error
                images[i] = picture
                labels[i] = record["label"]

        starts = range(0, len(records), DECODE_BLOCK)
        with ThreadPoolExecutor() as pool:
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


def open_image_dataset(name: str, data_dir: str | None) -> ImageDataset:
    """Finds a data set on disk, or downloads and prepares it where a builder of ours can.

    Args:
      name: a TFDS name, or the path of a directory that TFDS prepared or of a folder of pictures
        (see `image_folder`).
      data_dir: where TFDS data lie; None for `$TFDS_DATA_DIR` or `~/tensorflow_datasets`.

    Raises:
        UserError: it is nowhere and cannot be had, or is not of the kind that can be trained on.
    """
    if is_folder_of_pictures(name):
        return FolderDataset(Path(name).expanduser())
    data_dir = data_dir and str(Path(data_dir).expanduser())
    builder = _prepared_builder(name, data_dir) or _prepare(name, data_dir)
    dataset = TfdsDataset(name, builder)
    _check_kind(dataset)
    return dataset


def check_split(field: str, dataset: ImageDataset, split: str) -> None:
    """Refuses a split that the data set does not have, or that is empty.

    Raises:
        UserError: names `field`, the split and those there are.
    """
    try:
        empty = dataset.num_examples(split) == 0
    except UserError:
        raise
    except (KeyError, ValueError, NotImplementedError) as error:
        raise UserError(
            f"{field}: {dataset.name} has no split {split!r} ({error}); it has "
            f"{_counted(dataset)}, and parts of them such as 'train[:98%]'."
        ) from error
    if empty:
        raise UserError(f"{field}: {split!r} holds no example of {dataset.name}.")


def check_splits(dataset: ImageDataset, train_split: str, eval_splits: Mapping[str, str]) -> None:
    """Refuses the splits of a configuration that the data set does not have, or that are empty.

    Raises:
        UserError: see `check_split`.
    """
    check_split("config.data.train_split", dataset, train_split)
    for name, split in eval_splits.items():
        check_split(f"config.data.eval_splits.{name}", dataset, split)


def _counted(dataset: ImageDataset) -> str:
    return ", ".join(f"{name} ({dataset.num_examples(name):,})" for name in dataset.splits)


def is_folder_of_pictures(name: str) -> bool:
    """Tells a folder of pictures from a name and from a directory that TFDS prepared.

    Raises:
        UserError: it is a path where nothing is, or one above directories that TFDS prepared.
    """
    path = Path(name).expanduser()
    if name in OWN_BUILDERS or _is_tfds_directory(path):
        return False
    if not path.is_dir():
        if path.is_absolute() or path.is_file():
            raise UserError(f"config.data.name: there is no folder {path}.")
        return False
    for below in sorted(path.iterdir()):
        if _is_tfds_directory(below):
            raise UserError(
                f"config.data.name: TFDS has prepared {below} in {path}; name that, or set "
                f"--config.data.data_dir={path.parent} --config.data.name={path.name}."
            )
    return True


def _is_tfds_directory(path: Path) -> bool:
    return (path / "dataset_info.json").exists()


def find_prepared(name: str, data_dir: str | None) -> tfds.core.DatasetBuilder | None:
    """A data set as TFDS prepared it on this machine, or None; arguments as above.

    Raises:
        UserError: it is damaged.
    """
    with damage_told(name):
        if _is_tfds_directory(path := Path(name).expanduser()):
            builder = tfds.builder_from_directory(path)
        else:
            try:
                builder = read_only_builder.builder_from_files(name, data_dir=data_dir)
            except tfds.core.DatasetNotFoundError:
                return None
        for file in (file for split in builder.info.splits.values() for file in split.filepaths):
            if not file.exists():
                raise UserError(f"config.data.name: {file} is missing; prepare {name} again.")
    return builder


def _prepared_builder(name: str, data_dir: str | None) -> tfds.core.DatasetBuilder | None:
    """A prepared data set, in the converted form if there is one."""
    prepared = find_prepared(name, data_dir)
    return prepared and (find_converted(prepared) or prepared)


def _prepare(name: str, data_dir: str | None) -> tfds.core.DatasetBuilder:
    if name not in OWN_BUILDERS:
        raise MissingError(
            f"config.data.name: the data set {name!r} is not prepared on this machine, no folder "
            f"is called so, and there is no builder for it here ({', '.join(sorted(OWN_BUILDERS))} "
            "have one).\n"
            "If TFDS has it, prepare it once with TensorFlow, and with the flags of this run:\n"
            '  pip install -e ".[prepare]" && python launch/prepare.py --config=...'
        )
    builder = OWN_BUILDERS[name](data_dir=data_dir, file_format="array_record")
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    root = Path(builder.data_path).parents[1]
    try:
        with one_at_a_time(root / f".{name}.lock", work=f"prepares {name}"):
            prepared = _prepared_builder(name, data_dir)  # Another process may have been at it.
            if prepared is not None:
                return prepared
            say(f"Prepares {name} in {builder.data_path}")
            builder.download_and_prepare()
    except OSError as error:
        prepared = _prepared_builder(name, data_dir)
        if prepared is not None:  # Another was faster, on a file system without locks.
            return prepared
        raise UserError(
            f"{builder.data_path}: cannot be written ({error.strerror or error}); name another "
            "folder with --config.data.data_dir."
        ) from error
    return builder


def _check_kind(dataset: TfdsDataset) -> None:
    name, builder = dataset.name, dataset.builder
    features = builder.info.features
    if not {"image", "label"} <= set(features):
        raise UserError(
            f"config.data.name: {name} has no features `image` and `label` to classify by; it has "
            f"{', '.join(features)}."
        )
    if not isinstance(features["label"], tfds.features.ClassLabel):
        raise UserError(
            f"config.data.name: `label` of {name} is no class label; it is {features['label']}."
        )
    if features["image"].np_dtype != np.uint8:
        raise UserError(
            f"config.data.name: the pictures of {name} are {features['image'].np_dtype}; only "
            "8 bits a channel are read."
        )
    if not dataset.in_memory and builder.info.file_format != tfds.core.FileFormat.ARRAY_RECORD:
        raise UserError(
            f"config.data.name: the pictures of {name} lie in {builder.info.file_format.value} "
            "files, which cannot be read in random order; `python launch/prepare.py --config=...` "
            "converts them once to array_record."
        )
