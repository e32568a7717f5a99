"""Reads TFRecord files prepared by TFDS without TensorFlow; holds splits in memory.

TFDS itself needs TensorFlow to read this format, which has no random access. A record is its
length (8 bytes, little endian), a checksum of that (4), the serialized example, a checksum (4).
"""

import struct
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import google_crc32c
import tensorflow_datasets as tfds

from mlp_core.errors import UserError

LENGTH = struct.Struct("<Q")
CHECKSUM_BYTES = 4
LONGEST_RECORD = 1 << 31  # Bytes; the limit of protocol buffers.


class TfrecordSource:
    """A split of a prepared data set, with the reading methods of a TFDS data source.

    Attributes:
      serialized: the serialized examples, as in the files.
    """

    def __init__(
        self,
        builder: tfds.core.DatasetBuilder,
        split: str,
        decoders: Mapping[str, tfds.decode.Decoder] | None = None,
    ):
        """Reads the serialized examples of `split`, such as "train[:98%]", in their order.

        `decoders`, by feature, replace those of the features, as in TFDS's sources.

        Raises:
            UserError: a file of the split is damaged.
        """
        self._features = builder.info.features
        self._decoders = decoders
        self.serialized = [
            example
            for part in builder.info.splits[split].file_instructions
            for example in islice(
                read_records(Path(part.filename)), part.skip, part.skip + part.take
            )
        ]
        if len(self.serialized) != builder.info.splits[split].num_examples:
            raise UserError(
                f"{builder.data_path}: {len(self.serialized)} examples in split {split}, not "
                f"{builder.info.splits[split].num_examples}; files are cut short. Prepare it again."
            )

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.serialized)

    def __getitems__(self, indices: list[int]) -> list[dict[str, Any]]:
        """Returns examples as dictionaries."""
        return [
            self._features.deserialize_example_np(self.serialized[i], decoders=self._decoders)
            for i in indices
        ]


def read_records(path: Path) -> Iterator[bytes]:
    """Yields the serialized examples of a file, one at a time.

    Raises:
        UserError: the file is damaged or truncated.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        while header := file.read(LENGTH.size + CHECKSUM_BYTES):
            if len(header) < LENGTH.size + CHECKSUM_BYTES:
                raise UserError(f"{path}: this TFRecord file is cut short; prepare it again.")
            (length,) = LENGTH.unpack(header[: LENGTH.size])
            if length > min(size, LONGEST_RECORD):
                raise UserError(f"{path}: this TFRecord file is damaged; prepare it again.")
            example = file.read(length)
            checksum = file.read(CHECKSUM_BYTES)
            if len(checksum) < CHECKSUM_BYTES:
                raise UserError(f"{path}: this TFRecord file is cut short; prepare it again.")
            if int.from_bytes(checksum, "little") != _masked_crc(example):
                raise UserError(f"{path}: an example differs from its checksum; prepare it again.")
            yield example


def _masked_crc(data: bytes) -> int:
    """Returns the CRC-32C of `data`, masked (rotated and offset) as in the format."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
