"""Data sets of labelled texts: synthetic, prepared by TFDS, or directories of tables."""

import dataclasses
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2

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
from mlp_text.data.glue import Mnli, Sst2
from mlp_text.data.labelled_texts import LabelledTexts, check_usable, find_text_features
from mlp_text.data.synthetic import SYNTHETIC
from mlp_text.data.text_folder import TextFolder

OWN_BUILDERS = {"glue/sst2": Sst2, "glue/mnli": Mnli}
READ_BLOCK = 10_000  # Serialized examples held at a time.


class TextDataset(Splits, Protocol):
    """Texts or text pairs with one label each, in splits."""

    text_features: tuple[str, ...]  # One, or the two of a pair in reading order.
    num_classes: int
    class_names: list[str]  # Numbers if the classes are unnamed.

    def load(self, split: str) -> LabelledTexts:
        """Returns the examples of a split such as "train[:98%]".

        Raises:
            ValueError or KeyError: the split does not exist.
            UserError: it cannot be read, or its examples are unusable.
        """


@dataclasses.dataclass(frozen=True)
class TfdsTexts(LabelledDataset):
    """Texts or text pairs prepared by TFDS."""

    text_features: tuple[str, ...]

    def load(self, split: str) -> LabelledTexts:
        """Returns the examples of a split; raises like `TextDataset.load`."""
        where = f"{self.name}, split {split}"
        columns = [[] for _ in self.text_features]
        labels = np.empty(self.num_examples(split), np.int32)
        with damage_told(f"data set {self.name!r}"):
            for i, serialized in enumerate(self._serialized(split)):
                # This takes half the time of TFDS's general decoder.
                feature = tf_example_pb2.Example.FromString(serialized).features.feature
                for name, column in zip(self.text_features, columns, strict=True):
                    column.append(_decoded(feature[name].bytes_list.value[0], where, i, name))
                labels[i] = feature["label"].int64_list.value[0]
        examples = LabelledTexts(columns[0], columns[1] if len(columns) == 2 else None, labels)
        check_usable(where, examples, self.num_classes)
        return examples

    def _serialized(self, split: str) -> Iterator[bytes]:
        if self.builder.info.file_format == tfds.core.FileFormat.TFRECORD:
            yield from TfrecordSource(self.builder, split).serialized
            return
        raw = tfds.decode.DeserializeMethod.RAW_BYTES
        records = self.builder.as_data_source(split, deserialize_method=raw)
        for first in range(0, len(records), READ_BLOCK):
            block = range(first, min(first + READ_BLOCK, len(records)))
            yield from records.__getitems__(list(block))


def open_text_dataset(name: str, data_dir: str | None) -> TextDataset:
    """Opens a data set on disk, or downloads and prepares it if this project has a builder.

    Args:
      name: "synthetic_text" or "synthetic_text/pair"; a TFDS name such as "glue/sst2"; or the path
        of a directory prepared by TFDS or holding tables (see `text_folder`).
      data_dir: TFDS data directory; None for `$TFDS_DATA_DIR` or `~/tensorflow_datasets`.

    Raises:
        UserError: it is neither found nor available, or does not hold labelled texts.
    """
    if name in SYNTHETIC:
        return SYNTHETIC[name]
    if is_own_folder(name, OWN_BUILDERS):
        return TextFolder(user_path(name))
    builder = open_prepared(name, data_dir, OWN_BUILDERS)
    return TfdsTexts(name, builder, _checked_text_features(name, builder.info.features))


def _checked_text_features(name: str, features: tfds.features.FeaturesDict) -> tuple[str, ...]:
    """Returns the text features of a classification data set.

    Raises:
        UserError: it has no known text feature, or no class label.
    """
    texts = [key for key, feature in features.items() if isinstance(feature, tfds.features.Text)]
    found = find_text_features(texts) or (tuple(texts) if len(texts) == 1 else None)
    if found is None:
        raise UserError(
            f"config.data.name: {name} has no feature `sentence` or `text`, and no pair such as "
            f"`premise` and `hypothesis`, of texts; it has {', '.join(features)}."
        )
    if not isinstance(dict(features).get("label"), tfds.features.ClassLabel):
        raise UserError(
            f"config.data.name: {name} has no class label `label`; it has {', '.join(features)}."
        )
    return found


def _decoded(encoded: bytes, where: str, index: int, feature: str) -> str:
    try:
        return encoded.decode()
    except UnicodeDecodeError as error:
        raise UserError(
            f"{where}: `{feature}` of example {index} is not UTF-8 (byte {error.start} is "
            f"0x{encoded[error.start]:02x}); prepare the data set again from UTF-8."
        ) from error
