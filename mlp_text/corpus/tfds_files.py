"""Text features of data sets that TFDS prepared in array_record."""

import json
from collections.abc import Iterator
from pathlib import Path

import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordReader

from mlp_core.data.tfds.convert import find_converted
from mlp_core.data.tfds.prepared import damage_told, find_prepared
from mlp_core.errors import MissingError, UserError
from mlp_text.corpus.blocks import Entry, Shard

READ_EXAMPLES = 256  # At a time.


def open_tfds(name: str, split: str, field: str, data_dir: str | None) -> list[Shard]:
    """The files of a split as shards.

    Args:
      name: of a prepared data set, or the path of a directory that TFDS prepared.
      split: such as "train" or "train[:90%]".
      field: the feature that is a document.
      data_dir: where TFDS data lie; None for `$TFDS_DATA_DIR` or `~/tensorflow_datasets`.

    Raises:
        MissingError: it is not prepared on this machine.
        UserError: it has no such split or text, or cannot be read.
    """
    prepared = find_prepared(name, data_dir)
    if prepared is None:
        raise MissingError(
            f"tfds:{name}: TFDS has not prepared it in "
            f"{data_dir or tfds.core.constants.DATA_DIR}, and no directory that it prepared is "
            "called so; launch/prepare.py prepares it."
        )
    with damage_told(f"tfds:{name}:{split}"):
        builder = find_converted(prepared) or prepared
        if split.split("[")[0] not in builder.info.splits:
            splits = ", ".join(builder.info.splits)
            raise UserError(f"tfds:{name}:{split}: there is no such split; it has {splits}.")
        texts = sorted(key for key, value in builder.info.features.items() if _is_text(value))
        if field not in texts:
            raise UserError(
                f"tfds:{name}:{split}:{field}: there is no text feature {field!r}; it has "
                f"{', '.join(texts) or 'none'}."
            )
        if builder.info.file_format != tfds.core.FileFormat.ARRAY_RECORD:
            raise UserError(
                f"tfds:{name}: it lies in {builder.info.file_format.value} files; text is read "
                "from array_record, into which launch/prepare.py copies it."
            )
        return [
            TfdsFile(Path(part.filename), part.skip, part.take, field)
            for part in builder.info.splits[split].file_instructions
        ]


class TfdsFile:
    """One feature of some of the examples of a file; see `Shard`."""

    def __init__(self, path: Path, skip: int, take: int, field: str):
        """Takes examples `skip` to `skip` + `take` - 1; UserError where there is no such file."""
        self.name = f"{path}, {field} of examples {skip + 1:,} to {skip + take:,}"
        self._path, self._skip, self._take, self._field = path, skip, take, field
        with damage_told(self.name):
            self.num_bytes = path.stat().st_size

    def identity(self) -> str:
        """Its name, size and last change, and which part of it is taken."""
        with damage_told(self.name):
            name, time = self._path.name, self._path.stat().st_mtime_ns
        return json.dumps([name, self.num_bytes, time, self._skip, self._take, self._field])

    def entries(self) -> Iterator[Entry]:
        """See `Shard`; texts that are not UTF-8 are faults."""
        features = tfds.features.FeaturesDict({self._field: tfds.features.Text()})
        with damage_told(self.name):
            reader = ArrayRecordReader(str(self._path))
        last = self._skip + self._take
        for start in range(self._skip, last, READ_EXAMPLES):
            stop = min(start + READ_EXAMPLES, last)
            with damage_told(self.name):
                records = reader.read(start, stop)
                texts = [features.deserialize_example_np(record) for record in records]
            for number, example in enumerate(texts, start + 1):
                position = self.num_bytes * (number - self._skip) // self._take
                try:
                    yield Entry(number, example[self._field].decode(), "", position)
                except UnicodeDecodeError:
                    yield Entry(number, "", "not UTF-8", position)
        reader.close()


def _is_text(feature: tfds.features.FeatureConnector) -> bool:
    return isinstance(feature, tfds.features.Text)
