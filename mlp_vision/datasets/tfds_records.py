"""Single examples of a split that TFDS prepared in array_record, pictures still encoded."""

import tensorflow_datasets as tfds

from mlp_core.datasets.prepared import damage_told
from mlp_core.errors import UserError


class TfdsRecords:
    """A split by index; see `photos.PhotoRecords`."""

    def __init__(self, name: str, builder: tfds.core.DatasetBuilder, split: str):
        """Opens a split such as "train[:98%]" of the data set `name`."""
        self._name = name
        self._split = split
        self._records = builder.as_data_source(
            split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
        )
        features = builder.info.features
        self._num_classes = features["label"].num_classes
        # Only these are unpacked; a segmentation mask, say, would cost more than the picture.
        wanted = {key: features[key] for key in ("image", "label", "file_name") if key in features}
        self._features = tfds.features.FeaturesDict(wanted)

    def __len__(self) -> int:
        """Number of examples."""
        return len(self._records)

    def __getitem__(self, index: int) -> tuple[bytes, int]:
        """The encoded picture and its label.

        Raises:
            UserError: a file is damaged, or the example has no label.
        """
        example = self._example(index)
        label = int(example["label"])
        if not 0 <= label < self._num_classes:
            raise UserError(
                f"{self._name}, split {self._split}: {self.name(index)} has no label between 0 and "
                f"{self._num_classes - 1}; choose another split."
            )
        return example["image"], label

    def name(self, index: int) -> str:
        """Number of the example, and its file's name where the data set keeps it."""
        file_name = self._example(index).get("file_name")
        return f"example {index}" + (f" ({file_name.decode()})" if file_name else "")

    def file_name(self, index: int) -> str:
        """The file's name as the data set keeps it.

        Raises:
            UserError: it keeps none.
        """
        file_name = self._example(index).get("file_name")
        if file_name is None:
            raise UserError(
                f"{self._name}: its examples have no feature `file_name`, which tells one picture "
                "from another."
            )
        return file_name.decode()

    def _example(self, index: int) -> dict:
        with damage_told(f"data set {self._name!r}"):
            return self._features.deserialize_example_np(
                self._records[index], decoders={"image": tfds.decode.SkipDecoding()}
            )
