"""Validates directories prepared by TFDS before TFDS reads them.

Their metadata may name arbitrary Python classes, which TFDS would import, and example files
outside the directory.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from mlp_core.errors import UserError
from mlp_core.process.files import read_bytes, read_json

INFO_FILE, FEATURES_FILE = "dataset_info.json", "features.json"
TFDS_CLASS = re.compile(r"tensorflow_datasets(\.\w+)+")
CLASS_KEYS = ("pythonClassName", "python_class_name", "type")  # "type": in older files.
COUNT_KEYS = ("numClasses", "num_classes")
MOST_CLASSES = 1_000_000
MOST_SHARDS = 100_000  # Per split.
MOST_EXAMPLES = 1 << 40


def open_directory(folder: Path) -> tfds.core.DatasetBuilder:
    """Opens a directory that TFDS prepared.

    Raises:
        UserError: it names code outside TFDS, files outside the directory, or implausible sizes.
        Exception: of any type, if it is damaged otherwise.
    """
    for file in sorted({*folder.glob("*.json"), *folder.glob("*.txt")}):
        try:
            read_bytes(file)
        except ValueError as error:
            raise UserError(f"{file}: {error}; prepare the data set again.") from error
    _check_features(folder / FEATURES_FILE)
    _check_info(folder / INFO_FILE)
    builder = tfds.builder_from_directory(folder)
    _check_places(folder, builder)
    if not isinstance(builder.info.features, tfds.features.FeaturesDict):
        raise UserError(f"{folder}: its examples are no dictionaries of features.")
    return builder


def _check_features(file: Path) -> None:
    """Rejects Python classes outside TFDS, and labels with too many classes."""
    for part in _objects(read_json(file)):
        for name in (part[key] for key in CLASS_KEYS if isinstance(part.get(key), str)):
            if not TFDS_CLASS.fullmatch(name):
                raise UserError(
                    f"{file}: names the Python class {name!r:.100}, which TFDS would import, code "
                    "and all; only classes of tensorflow_datasets are."
                )
        for count in (part[key] for key in COUNT_KEYS if key in part):
            if not 0 <= int(count) <= MOST_CLASSES:
                raise UserError(f"{file}: {count} classes; there may be {MOST_CLASSES:,} at most.")


def _check_info(file: Path) -> None:
    """Rejects implausible numbers of shards and examples."""
    for split in read_json(file).get("splits", ()):
        lengths = split.get("shardLengths", split.get("shard_lengths", ()))
        if len(lengths) > MOST_SHARDS:
            raise UserError(
                f"{file}: a split of {len(lengths):,} files; there may be {MOST_SHARDS:,} at most."
            )
        if not all(0 <= int(length) <= MOST_EXAMPLES for length in lengths):
            raise UserError(f"{file}: numbers of examples that cannot be.")


def _check_places(folder: Path, builder: tfds.core.DatasetBuilder) -> None:
    """Rejects names that would be read or, in a copy, written outside the directory."""
    parts = Path(builder.info.full_name).parts
    if ".." in parts or "/" in parts:
        raise UserError(f"{folder}: no data set can be called {builder.info.full_name!r:.100}.")
    for file in (Path(f) for split in builder.info.splits.values() for f in split.filepaths):
        if not file.is_relative_to(folder) or ".." in file.relative_to(folder).parts:
            raise UserError(f"{folder}: its metadata ask for {file}, which is outside.")


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yields all JSON objects inside `value`."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _objects(inner)
