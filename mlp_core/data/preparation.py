"""What fetching ahead of time does alike for images and for text.

A `directory` is one that all hosts of a pod see; None stands for where a run on this machine looks.
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
    """Creates `directory` if need be; refuses it beside folders that are configured.

    Args:
      directory: what --directory names.
      configured: folders of the configuration by their field in `config.data`.

    Raises:
        UserError: one is configured, or it cannot be written.
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
    """Where TFDS data are to lie; None for TFDS's own place."""
    if directory is not None:
        return str(directory / "tfds")
    return configured and str(user_path(configured, "config.data.data_dir="))


def data_dir_flags(directory: Path | None, folders: Iterable[Path]) -> list[str]:
    """The flag with which a run finds data sets, if any of their `folders` is in `directory`."""
    found = directory is not None and any(folder.is_relative_to(directory) for folder in folders)
    return [f"--config.data.data_dir={data_dir_of(None, directory)}"] if found else []


def prepare_dataset(name: str, data_dir: str | None, own_builders: Builders) -> Path:
    """Prepares a TFDS data set in array_record unless that has been done, and says so.

    Args:
      name: a TFDS name, or the path of a directory that TFDS prepared, in TFRecord perhaps.
      data_dir: see `data_dir_of`.
      own_builders: those that need no TensorFlow.

    Returns the folder in which it lies.

    Raises:
        MissingError: it cannot be had.
        UserError: it is damaged, or there is none of this name.
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
    """The file in `folder` for weights of the hub or an address; None for those of one's own."""
    if source.startswith(HUGGING_FACE):
        return place_in(folder, source) / WEIGHTS_FILE
    return place_in(folder, source) if "://" in source else None


def prepare_weights(
    source: str, locate: Callable[[], Path], place: Path | None, beside: Sequence[str]
) -> Path:
    """Fetches weights unless they are there, copies them to `place`, and says so.

    Args:
      source: as the configuration names them.
      locate: fetches or finds them; returns their file, or the folder of a run.
      place: the file that they are copied to; None for where they are.
      beside: names of files that are copied with them, where such lie beside the hub's.

    Raises:
        UserError: they cannot be had, or `place` cannot be written.
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
    """Says with which flags a run finds everything."""
    if flags:
        say("Everything is here; the run finds it with these flags:\n  " + shlex.join(flags))
    else:
        say("Everything is here; the run finds it by itself.")


def size_in_words(path: Path) -> str:
    """The size of a file, or of those in a folder, and its place: "1.5 MiB in /data"."""
    files = [path] if path.is_file() else [file for file in path.iterdir() if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    return f"{size / 2**20:,.1f} MiB in {path}"


def _copy_weights(path: Path, place: Path, beside: Sequence[str]) -> None:
    """Copies them last, so that all is there when they are."""
    if path.name == WEIGHTS_FILE:
        for file in (path.with_name(name) for name in beside):
            if file.is_file():
                _copy(file, place.with_name(file.name))
    _copy(path, place)


def _copy(source: Path, destination: Path) -> None:
    """Copies a file, which appears in place only when whole, also where several hosts copy it."""
    try:
        with whole_output(destination) as part:
            shutil.copyfile(source, part)
    except OSError as error:
        raise UserError(f"{destination}: cannot be written ({error.strerror}).") from error
