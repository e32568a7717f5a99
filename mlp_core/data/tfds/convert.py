"""Converts TFRecord data sets to array_record, which supports random access.

A copy has the same serialized examples in the same order, splits and shards. It is stored in
`array_record/` inside the data set's directory or, if that is read-only, in
`array_record/NAME/VERSION` of this project's cache.
"""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter
from tqdm import tqdm

from mlp_core.data.tfds.directory import INFO_FILE, open_directory
from mlp_core.data.tfds.tfrecord import read_records
from mlp_core.errors import UserError
from mlp_core.process import preemption
from mlp_core.process.console import say
from mlp_core.process.files import one_at_a_time, read_json
from mlp_core.process.user_paths import cache_dir

ONE_BY_ONE = "group_size:1"  # Each example can be read by itself.
BYTES_PER_EXAMPLE = 128  # Overhead of array_record, plus 1/64 of the data; measured: 70 to 360.


def find_converted(builder: tfds.core.DatasetBuilder) -> tfds.core.DatasetBuilder | None:
    """Returns the array_record copy of a TFRecord data set, or None."""
    if builder.info.file_format != tfds.core.FileFormat.TFRECORD:
        return None
    folder = next((place for place in _places(builder) if _is_copy(place, builder)), None)
    return open_directory(folder) if folder else None


def convert(builder: tfds.core.DatasetBuilder) -> tfds.core.DatasetBuilder:
    """Converts a TFRecord data set to array_record unless already done; returns the copy.

    The copy appears atomically. One example is in memory at a time.

    Raises:
        UserError: a file is damaged, or no directory can hold the copy.
    """
    converted = find_converted(builder)
    if converted is not None:
        return converted
    folder = _choose_place(builder)
    try:
        with one_at_a_time(folder.with_name(f".{folder.name}.lock"), f"converts {builder.name}"):
            converted = find_converted(builder)
            if converted is None:
                _convert_into(folder, builder)
    except (OSError, RuntimeError) as error:  # array_record raises the latter.
        raise UserError(f"{folder}: cannot be written ({error}).") from error
    return converted or open_directory(folder)


def _places(builder: tfds.core.DatasetBuilder) -> list[Path]:
    """Possible directories of a copy, the best first."""
    return [
        Path(builder.data_path) / "array_record",
        cache_dir() / "array_record" / builder.info.full_name,
    ]


def _is_copy(folder: Path, builder: tfds.core.DatasetBuilder) -> bool:
    """Whether `folder` holds this data set; another one may have its name and version."""
    try:
        return read_json(folder / INFO_FILE) == _converted_info(builder)
    except (OSError, ValueError):
        return False


def _converted_info(builder: tfds.core.DatasetBuilder) -> dict[str, Any]:
    info = read_json(Path(builder.data_path) / INFO_FILE)
    info.pop("alternativeFileFormats", None)
    return info | {"fileFormat": tfds.core.FileFormat.ARRAY_RECORD.value}


def _choose_place(builder: tfds.core.DatasetBuilder) -> Path:
    """Returns the first directory that is writable and has enough free space.

    Raises:
        UserError: none is; gives the reasons.
    """
    splits = builder.info.splits.values()
    source = sum(Path(file).stat().st_size for split in splits for file in split.filepaths)
    examples = sum(split.num_examples for split in splits)
    needed = source + source // 64 + examples * BYTES_PER_EXAMPLE
    reasons = []
    for place in _places(builder):
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=place.parent):
                free = shutil.disk_usage(place.parent).free
        except OSError as error:
            reasons.append(f"{place}: cannot be written ({error.strerror})")
            continue
        if free >= needed:
            say(f"Converts {builder.name} to array_record, {needed / 2**30:.2f} GiB, in {place}")
            return place
        reasons.append(f"{place}: {free / 2**30:.2f} GiB free, not {needed / 2**30:.2f}")
    raise UserError(
        f"{builder.data_path}: there is no place for a copy in array_record.\n  "
        + "\n  ".join(reasons)
    )


def _convert_into(folder: Path, builder: tfds.core.DatasetBuilder) -> None:
    # Killed processes leave partial copies behind.
    for left_over in folder.parent.glob(f".{folder.name}.part*"):
        shutil.rmtree(left_over, ignore_errors=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.part", dir=folder.parent))
    part.chmod(folder.parent.stat().st_mode & 0o777)  # Same permissions as the parent directory.
    try:
        with preemption.removed_at_end(part):
            _copy_metadata(part, builder)
            _copy_examples(open_directory(part), builder)
        if folder.exists():  # From another data set of this name and version, or from older data.
            shutil.rmtree(folder)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _copy_metadata(folder: Path, builder: tfds.core.DatasetBuilder) -> None:
    """Copies features and label names: all files but shards, named `...-00000-of-00001`."""
    for file in Path(builder.data_path).iterdir():
        if file.is_file() and "-of-" not in file.name and not file.name.startswith("."):
            shutil.copyfile(file, folder / file.name)
    (folder / INFO_FILE).write_text(json.dumps(_converted_info(builder), indent=2))


def _copy_examples(target: tfds.core.DatasetBuilder, source: tfds.core.DatasetBuilder) -> None:
    total = sum(split.num_examples for split in source.info.splits.values())
    with tqdm(total=total, desc=f"converting {source.name}", unit="ex", disable=None) as bar:
        for name, split in source.info.splits.items():
            shards = zip(
                split.filepaths,
                target.info.splits[name].filepaths,
                split.shard_lengths,
                strict=True,
            )
            for tfrecord, array_record, length in shards:
                _copy_shard(Path(tfrecord), Path(array_record), length, bar)


def _copy_shard(tfrecord: Path, array_record: Path, length: int, bar: tqdm) -> None:
    writer = ArrayRecordWriter(str(array_record), ONE_BY_ONE)
    try:
        for example in read_records(tfrecord):
            writer.write(example)
            bar.update()
    finally:
        writer.close()
    reader = ArrayRecordReader(str(array_record))
    written = reader.num_records()
    reader.close()
    if written != length:
        raise UserError(
            f"{tfrecord}: {written} examples in this file, not {length}; it is cut short. Prepare "
            "it again."
        )
