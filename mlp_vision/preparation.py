"""Fetches ahead of time what a run will need: the data set, prepared, and published weights."""

import os
import shlex
import shutil
import tempfile
import time
from pathlib import Path

from ml_collections import ConfigDict
from tensorflow_datasets.core import FileFormat

from mlp_core.config import parse_config
from mlp_core.console import say
from mlp_core.datasets import tfds_build
from mlp_core.datasets.conversion import convert, find_converted
from mlp_core.datasets.prepared import find_prepared
from mlp_core.datasets.splits import check_splits
from mlp_core.errors import MissingError, UserError
from mlp_core.weight_sources import CONFIG_FILE, HUGGING_FACE, WEIGHTS_FILE
from mlp_vision.config import ImageClassificationConfig, ImageDataConfig, InitConfig
from mlp_vision.datasets.image_dataset import (
    OWN_BUILDERS,
    is_folder_of_pictures,
    open_image_dataset,
)
from mlp_vision.published_weights import PUBLISHED, locate_weights


def prepare(config: ConfigDict, directory: Path | None = None) -> list[str]:
    """Fetches and prepares what the experiment needs, and says what was there already.

    Args:
      config: the experiment.
      directory: a folder that all hosts of a pod see; a data set by name goes into
        `directory`/tfds, weights from the web into `directory`/weights; what the configuration
        names by its path stays there. None: where a run on this machine looks.

    Returns:
        The flags with which a run finds everything; none are needed without `directory`.

    Raises:
        MissingError: something cannot be had; names everything that cannot.
        UserError: something in the configuration or the data is wrong.
    """
    settings = parse_config(ImageClassificationConfig, config)
    if directory is not None:
        directory = directory.absolute()
        _check_directory(directory, settings.data)
    flags, missing = [], []
    try:
        flags += _prepare_dataset(settings.data, directory)
    except MissingError as error:
        missing.append(str(error))
    try:
        flags += _prepare_weights(settings.init, directory)
    except MissingError as error:
        missing.append(str(error))
    if missing:
        raise MissingError("\n".join(missing))
    if flags:
        say("Everything is here; the run finds it with these flags:\n  " + shlex.join(flags))
    else:
        say("Everything is here; the run finds it by itself.")
    return flags


def _check_directory(directory: Path, data: ImageDataConfig) -> None:
    if data.data_dir is not None:
        raise UserError(
            f"--directory={directory}: config.data.data_dir is {data.data_dir} besides; name one "
            "of them only."
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"--directory={directory}: cannot be written ({error.strerror})."
        ) from error


def _prepare_dataset(data: ImageDataConfig, directory: Path | None) -> list[str]:
    if is_folder_of_pictures(data.name):
        dataset = open_image_dataset(data.name, None)
        check_splits(dataset, data.train_split, data.eval_splits)
        say(f"Data set {data.name}: there already, a folder of pictures")
        return []
    data_dir = data.data_dir and str(Path(data.data_dir).expanduser())
    if directory is not None:
        data_dir = str(directory / "tfds")
    found, done = find_prepared(data.name, data_dir), "there already"
    if found is None:
        done = "prepared"
        if data.name not in OWN_BUILDERS:
            tfds_build.build(data.name, data_dir)
    elif found.info.file_format == FileFormat.TFRECORD and find_converted(found) is None:
        done = "converted"
        convert(found)
    dataset = open_image_dataset(data.name, data_dir)
    check_splits(dataset, data.train_split, data.eval_splits)
    builder = dataset.builder
    folder = Path(builder.data_path)
    size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    say(f"Data set {builder.info.full_name}: {done}, {size / 2**20:,.1f} MiB in {folder}")
    in_directory = directory is not None and folder.is_relative_to(directory)
    return [f"--config.data.data_dir={data_dir}"] if in_directory else []


def _prepare_weights(init: InitConfig, directory: Path | None) -> list[str]:
    source = init.weights
    if not source:
        return []
    place = _place_in(directory / "weights", source) if directory else None
    if place and place.is_file():
        path, done = place, "there already"
    else:
        started = time.time()
        path = locate_weights(source, init.mirror)
        done = "fetched" if path.resolve().stat().st_ctime >= started else "there already"
        if place:
            _copy_weights(path, place)
            path, done = place, "fetched and copied" if done == "fetched" else "copied"
    size = f", {path.stat().st_size / 2**20:,.1f} MiB" if path.is_file() else ""
    say(f"Weights {source}: {done}{size} in {path}")
    if not place:
        return []
    if source in PUBLISHED:
        return [f"--config.init.mirror={directory / 'weights'}"]
    return [f"--config.init.weights={place}"]


def _place_in(folder: Path, source: str) -> Path | None:
    """Where weights are kept for all hosts; None for files of one's own, which stay."""
    if source in PUBLISHED:
        return folder / f"{source}.npz"
    if source.startswith(HUGGING_FACE):
        return folder / source.removeprefix(HUGGING_FACE) / WEIGHTS_FILE
    return folder / source.split("://", 1)[1] if "://" in source else None


def _copy_weights(path: Path, place: Path) -> None:
    settings = path.with_name(CONFIG_FILE)
    if path.name == WEIGHTS_FILE and settings.is_file():
        _copy(settings, place.with_name(settings.name))
    _copy(path, place)


def _copy(source: Path, destination: Path) -> None:
    """Copies a file, which appears in place only when whole, also where several hosts copy it."""
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=destination.parent) as folder:
            part = Path(folder) / destination.name
            shutil.copyfile(source, part)
            os.replace(part, destination)
    except OSError as error:
        raise UserError(f"{destination}: cannot be written ({error.strerror}).") from error
