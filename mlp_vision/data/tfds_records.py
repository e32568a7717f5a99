"""Random access to examples of a TFDS split in array_record, with encoded images."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from mlp_core.data.sources import digest_of, sampled_indices
from mlp_core.data.tfds.prepared import damage_told
from mlp_core.errors import UserError
from mlp_vision.data.image_codec import decode_rgb, encode_png
from mlp_vision.data.labels import Label

BUILDERS = ("dsprites",)  # TFDS builders whose white is 1.


class TfdsRecords:
    """A split by index; see `photos.PhotoRecords`."""

    def __init__(self, name: str, builder: tfds.core.DatasetBuilder, split: str, label: Label):
        """Opens a split such as "train[:98%]" of the data set `name`, labelled by `label`."""
        self._name = name
        self._builder_name = builder.name
        self._label = label
        self._split = split
        self._records = builder.as_data_source(
            split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
        )
        features = builder.info.features
        # Other features are skipped; a segmentation mask, for example, costs more than the image.
        wanted = ("image", "file_name", *label.features)
        self._features = tfds.features.FeaturesDict(
            {f: features[f] for f in wanted if f in features}
        )

    def __len__(self) -> int:
        """Number of examples."""
        return len(self._records)

    def __getitem__(self, index: int) -> tuple[bytes, int]:
        """Returns the encoded image and its label.

        Raises:
            BadPictureError: see `in_full_brightness`.
            UserError: a file is damaged, or the example has no label.
        """
        example = self._example(index)
        label, num_classes = self._label.of(example), len(self._label.class_names)
        if not 0 <= label < num_classes:
            raise UserError(
                f"{self._name}, split {self._split}: {self.name(index)} has no label between 0 and "
                f"{num_classes - 1}; choose another split."
            )
        return in_full_brightness(self._builder_name, example["image"]), label

    def name(self, index: int) -> str:
        """Returns the example's index, with its file name if the data set stores it."""
        file_name = self._example(index).get("file_name")
        return f"example {index}" + (f" ({file_name.decode()})" if file_name else "")

    def file_name(self, index: int) -> str:
        """Returns the file name that the data set stores.

        Raises:
            UserError: it does not store file names.
        """
        file_name = self._example(index).get("file_name")
        if file_name is None:
            raise UserError(
                f"{self._name}: its examples have no feature `file_name`, which tells one picture "
                "from another."
            )
        return file_name.decode()

    def digest(self) -> str:
        """See `Source`."""
        with damage_told(f"data set {self._name!r}"):
            sample = self._records.__getitems__(sampled_indices(len(self)).tolist())
        return digest_of([len(self).to_bytes(8), *sample])

    def _example(self, index: int) -> dict:
        with damage_told(f"data set {self._name!r}"):
            return self._features.deserialize_example_np(
                self._records[index], decoders=skipped_pictures(self._features)
            )


def skipped_pictures(features: Mapping[str, Any]) -> dict[str, tfds.decode.Decoder]:
    """Returns TFDS decoders that keep images encoded."""
    return {
        name: tfds.decode.SkipDecoding()
        for name, feature in features.items()
        if isinstance(feature, tfds.features.Image)
    }


def in_full_brightness(builder: str, encoded: bytes) -> bytes:
    """Returns an image stored by `builder`, re-encoded to 0 and 255 if its white is 1.

    Raises:
        BadPictureError: as `image_codec.decode_rgb`.
    """
    if builder not in BUILDERS:
        return encoded
    return encode_png((decode_rgb(encoded)[..., 0] > 0).astype(np.uint8) * 255)
