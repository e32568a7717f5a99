"""Image data sets by name, prepared on disk by TFDS and read into memory."""

import dataclasses
import math
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core import read_only_builder
from tqdm import tqdm

from mlp_core.array_source import ArraySource
from mlp_core.console import say
from mlp_core.errors import MissingError, UserError
from mlp_core.file_lock import one_at_a_time
from mlp_vision.datasets.cifar import Cifar10, Cifar100
from mlp_vision.datasets.conversion import find_converted
from mlp_vision.datasets.digits import Digits
from mlp_vision.datasets.flowers import Flowers102
from mlp_vision.datasets.image_codec import decode_rgb
from mlp_vision.datasets.pets import Pets
from mlp_vision.datasets.synthetic import Synthetic
from mlp_vision.datasets.tfrecord import TfrecordSource

OWN_BUILDERS = {
    builder.name: builder for builder in (Cifar10, Cifar100, Digits, Flowers102, Pets, Synthetic)
}
MEMORY_LIMIT_BYTES = 8 << 30
DECODE_BLOCK = 1000  # Examples read and decoded at a time.


@dataclasses.dataclass(frozen=True)
class ImageDataset:
    """A prepared data set of pictures of one size, with one label each."""

    name: str
    builder: tfds.core.DatasetBuilder

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
        with _damage_told(self.name):
            arrays = self._read(split)
        unlabelled = np.flatnonzero((arrays["label"] < 0) | (arrays["label"] >= self.num_classes))
        if unlabelled.size:
            raise UserError(
                f"{self.name}, split {split}: example {unlabelled[0]} and {unlabelled.size - 1} "
                f"others have no label between 0 and {self.num_classes - 1}; choose another split."
            )
        return ArraySource(arrays)

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
                    images[i] = decode_rgb(record["image"])
                except (OSError, ValueError) as error:
                    raise UserError(
                        f"{self.name}, split {split}, example {i}: the picture cannot be decoded "
                        f"({error})."
                    ) from error
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
      name: a TFDS name, or the path of a directory that TFDS prepared.
      data_dir: where TFDS data lie; None for `$TFDS_DATA_DIR` or `~/tensorflow_datasets`.

    Raises:
        UserError: it is nowhere and cannot be had, or is not of the kind that can be trained on.
    """
    with _damage_told(name):
        builder = _prepared_builder(name, data_dir)
    if builder is None:
        builder = _prepare(name, data_dir)
    _check_kind(name, builder)
    return ImageDataset(name, builder)


def check_split(field: str, dataset: ImageDataset, split: str) -> None:
    """Refuses a split that the data set does not have, or that is empty.

    Raises:
        UserError: names `field`, the split and those there are.
    """
    splits = dataset.builder.info.splits
    try:
        empty = splits[split].num_examples == 0
    except (KeyError, ValueError) as error:
        raise UserError(
            f"{field}: {dataset.name} has no split {split!r}; it has {', '.join(splits)}, and "
            "parts of them such as 'train[:98%]'."
        ) from error
    if empty:
        raise UserError(f"{field}: {split!r} holds no example of {dataset.name}.")


@contextmanager
def _damage_told(name: str) -> Iterator[None]:
    """Tells in one sentence what TFDS, protobuf and array_record raise for damaged files."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # The three have no common class.
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise UserError(f"config.data.name: {name!r} cannot be read ({reason}).") from error


def find_prepared(name: str, data_dir: str | None) -> tfds.core.DatasetBuilder | None:
    """A data set as TFDS prepared it on this machine, or None; arguments as above.

    Raises:
        UserError: it is damaged, or `name` is the path of something else.
    """
    with _damage_told(name):
        if (Path(name) / "dataset_info.json").exists():
            return tfds.builder_from_directory(name)
        if Path(name).is_absolute() or Path(name).is_dir():
            raise UserError(
                f"config.data.name: {name} is no directory that TFDS prepared (no "
                "dataset_info.json)."
            )
        try:
            return read_only_builder.builder_from_files(name, data_dir=data_dir)
        except tfds.core.DatasetNotFoundError:
            return None


def _prepared_builder(name: str, data_dir: str | None) -> tfds.core.DatasetBuilder | None:
    """A prepared data set, in the converted form if there is one."""
    prepared = find_prepared(name, data_dir)
    return prepared and (find_converted(prepared) or prepared)


def _prepare(name: str, data_dir: str | None) -> tfds.core.DatasetBuilder:
    if name not in OWN_BUILDERS:
        raise MissingError(
            f"config.data.name: the data set {name!r} is not prepared on this machine, and there "
            f"is no builder for it here ({', '.join(sorted(OWN_BUILDERS))} have one).\n"
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


def _check_kind(name: str, builder: tfds.core.DatasetBuilder) -> None:
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
    shape = features["image"].shape
    if None in shape[:2]:
        raise UserError(
            f"config.data.name: the pictures of {name} differ in size; only data sets of one "
            "fixed size can be trained on so far."
        )
    examples = sum(split.num_examples for split in builder.info.splits.values())
    size = examples * math.prod(shape[:2]) * 3
    if size > MEMORY_LIMIT_BYTES:
        raise UserError(
            f"config.data.name: {name} takes {size / 2**30:.0f} GiB of memory; at most "
            f"{MEMORY_LIMIT_BYTES >> 30} GiB are read."
        )
