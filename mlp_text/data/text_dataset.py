"""Data sets of labelled texts: by name, prepared on disk by TFDS, or folders of tables."""

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
READ_BLOCK = 10_000  # Examples held in serialized form at a time.


class TextDataset(Splits, Protocol):
    """Texts, or pairs of texts, with one label each, in splits."""

    text_features: tuple[str, ...]  # One, or the two of a pair in the order they are read.
    num_classes: int
    class_names: list[str]  # Numbers where they have no names.

    def load(self, split: str) -> LabelledTexts:
        """The examples of a split such as "train[:98%]".

        Raises:
            ValueError or KeyError: there is no such split.
            UserError: it cannot be read, or its examples cannot be trained or scored on.
        """


@dataclasses.dataclass(frozen=True)
class TfdsTexts(LabelledDataset):
    """Texts, or pairs of them, that TFDS has prepared."""

    text_features: tuple[str, ...]

    def load(self, split: str) -> LabelledTexts:
        """The examples of a split; raises as `TextDataset.load` does."""
        where = f"{self.name}, split {split}"
        columns = [[] for _ in self.text_features]
        labels = np.empty(self.num_examples(split), np.int32)
        with damage_told(f"data set {self.name!r}"):
            for i, serialized in enumerate(self._serialized(split)):
                # Half the time of TFDS's own decoding, which is general.
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
    """Finds a data set on disk, or downloads and prepares it where a builder of ours can.

    Args:
      name: "synthetic_text" or "synthetic_text/pair"; a TFDS name such as "glue/sst2"; or the path
        of a directory that TFDS prepared or of a folder of tables (see `text_folder`).
      data_dir: where TFDS data lie; None for `$TFDS_DATA_DIR` or `~/tensorflow_datasets`.

    Raises:
        UserError: it is nowhere and cannot be had, or is not of the kind that can be trained on.
    """
    if name in SYNTHETIC:
        return SYNTHETIC[name]
    if is_own_folder(name, OWN_BUILDERS):
        return TextFolder(user_path(name))
    builder = open_prepared(name, data_dir, OWN_BUILDERS)
    return TfdsTexts(name, builder, _checked_text_features(name, builder.info.features))


def _checked_text_features(name: str, features: tfds.features.FeaturesDict) -> tuple[str, ...]:
    """The texts of a data set that can be classified.

    Raises:
        UserError: it has no texts that can be told, or no class label.
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
