"""TFRecord as TFDS writes it, which takes TensorFlow, of data sets in array_record."""

from pathlib import Path

import tensorflow_datasets as tfds

from mlp_core.data.tfds.tfrecord import _masked_crc


def as_tfrecord(directory):
    """Turns a data set in array_record into the same in TFRecord."""
    builder = tfds.builder_from_directory(directory)
    raw = tfds.decode.DeserializeMethod.RAW_BYTES
    for split, info in builder.info.splits.items():
        records = list(builder.as_data_source(split, deserialize_method=raw))
        (path,) = map(Path, info.filepaths)
        with path.with_name(path.name.replace("array_record", "tfrecord")).open("wb") as file:
            for record in records:
                file.write(len(record).to_bytes(8, "little") + bytes(4) + record)
                file.write(_masked_crc(record).to_bytes(4, "little"))
        path.unlink()
    info = directory / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
