"""Data and weights preparation that image and text tasks share.

A `directory` is shared by all hosts of a pod; None means the default places of this machine.
"""

import shlex
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import tensorflow_datasets as tfds

from mlp_core.data.tfds import build as tfds_build
from mlp_core.data.tfds.convert import convert, find_converted
from mlp_core.data.tfds.prepared import Builders, find_prepared, open_prepared
from mlp_core.errors import UserError
from mlp_core.process.console import say
from mlp_core.process.files import whole_output
from mlp_core.process.user_paths import user_path
from mlp_core.weights.downloads import place_in
from mlp_core.weights.sources import HUGGING_FACE, WEIGHTS_FILE

THERE = "there already"


def check_directory(directory: Path, **configured: str | None) -> None:
    """Creates `directory` if needed.

    Args:
      directory: the value of --directory.
      configured: configured directories by their field in `config.data`.

    Raises:
        UserError: a field of `configured` is set, or `directory` cannot be written.
    """
    for field, folder in configured.items():
        if folder is not None:
            raise UserError(
                f"--directory={directory}: config.data.{field} is {folder} besides; name one of "
                "them only."
            )
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"--directory={directory}: cannot be written ({error.strerror})."
        ) from error


def data_dir_of(configured: str | None, directory: Path | None) -> str | None:
    """Returns the directory for TFDS data; None for TFDS's default."""
    if directory is not None:
        return str(directory / "tfds")
    return configured and str(user_path(configured, "config.data.data_dir="))


def data_dir_flags(directory: Path | None, folders: Iterable[Path]) -> list[str]:
    """Returns the flag that a run needs to find data sets, if any is in `directory`."""
    found = directory is not None and any(folder.is_relative_to(directory) for folder in folders)
    return [f"--config.data.data_dir={data_dir_of(None, directory)}"] if found else []


def prepare_dataset(name: str, data_dir: str | None, own_builders: Builders) -> Path:
    """Prepares a TFDS data set in array_record unless already done, and reports it.

    Args:
      name: a TFDS name, or the path of a directory that TFDS prepared, possibly in TFRecord.
      data_dir: see `data_dir_of`.
      own_builders: builders that do not need TensorFlow.

    Returns the directory of the data set.

    Raises:
        MissingError: it cannot be obtained.
        UserError: it is damaged, or the name is unknown.
    """
    found, done = find_prepared(name, data_dir), THERE
    if found is None:
        done = "prepared"
        if name not in own_builders:
            tfds_build.build(name, data_dir)
    elif found.info.file_format == tfds.core.FileFormat.TFRECORD and find_converted(found) is None:
        done = "converted"
        convert(found)
    builder = open_prepared(name, data_dir, own_builders)
    folder = Path(builder.data_path)
    say(f"Data set {builder.info.full_name}: {done}, {size_in_words(folder)}")
    return folder


def place_of(folder: Path, source: str) -> Path | None:
    """Returns the file in `folder` for weights of the hub or a URL; None for local weights."""
    if source.startswith(HUGGING_FACE):
        return place_in(folder, source) / WEIGHTS_FILE
    return place_in(folder, source) if "://" in source else None


def prepare_weights(
    source: str, locate: Callable[[], Path], place: Path | None, beside: Sequence[str]
) -> Path:
    """Fetches weights unless present, copies them to `place`, and reports it.

    Args:
      source: the weights' name in the configuration.
      locate: fetches or finds them; returns their file, or the directory of a run.
      place: the destination file; None leaves them in place.
      beside: names of files to copy along with weights of the hub, if present.

    Raises:
        UserError: they cannot be obtained, or `place` cannot be written.
    """
    if place and place.is_file():
        path, done = place, THERE
    else:
        started = time.time()
        path = locate()
        done = "fetched" if path.resolve().stat().st_ctime >= started else THERE
        if place:
            _copy_weights(path, place, beside)
            path, done = place, "fetched and copied" if done == "fetched" else "copied"
    where = f", {size_in_words(path)}" if path.is_file() else f" in {path}"
    say(f"Weights {source}: {done}{where}")
    return path


def say_flags(flags: Sequence[str]) -> None:
    """Prints the flags with which a run finds everything."""
    if flags:
        say("Everything is here; the run finds it with these flags:\n  " + shlex.join(flags))
    else:
        say("Everything is here; the run finds it by itself.")


def size_in_words(path: Path) -> str:
    """Formats the size and path of a file, or of the files in a directory: "1.5 MiB in /data"."""
    files = [path] if path.is_file() else [file for file in path.iterdir() if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    return f"{size / 2**20:,.1f} MiB in {path}"


def _copy_weights(path: Path, place: Path, beside: Sequence[str]) -> None:
    """Copies weights after the files beside them, so that their presence implies the rest."""
    if path.name == WEIGHTS_FILE:
        for file in (path.with_name(name) for name in beside):
            if file.is_file():
                _copy(file, place.with_name(file.name))
    _copy(path, place)


def _copy(source: Path, destination: Path) -> None:
    """Copies a file atomically, even if several hosts copy it."""
    try:
        with whole_output(destination) as part:
            shutil.copyfile(source, part)
    except OSError as error:
        raise UserError(f"{destination}: cannot be written ({error.strerror}).") from error
