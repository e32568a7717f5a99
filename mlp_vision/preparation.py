"""Fetches ahead of time what a run will need: the data set, prepared, and published weights."""

import os
import shutil
from pathlib import Path

from ml_collections import ConfigDict
from tensorflow_datasets.core import FileFormat

from mlp_core.config import parse_config
from mlp_core.console import say
from mlp_core.downloads import cache_dir
from mlp_core.errors import MissingError, UserError
from mlp_vision.config import DataConfig, ImageClassificationConfig, InitConfig
from mlp_vision.datasets import tfds_build
from mlp_vision.datasets.conversion import convert, find_converted
from mlp_vision.datasets.image_dataset import OWN_BUILDERS, find_prepared, open_image_dataset
from mlp_vision.published_weights import PUBLISHED, locate_weights


def prepare(config: ConfigDict, directory: Path | None = None) -> list[str]:
    """Fetches and prepares what the experiment needs, and says what was there already.

    Args:
      config: the experiment.
      directory: a folder that all hosts of a pod see; the data set goes into `directory`/tfds and
        weights into `directory`/weights. None: where a run on this machine looks for them.

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
        say("Everything is here; the run finds it with these flags:\n  " + " ".join(flags))
    else:
        say("Everything is here; the run finds it by itself.")
    return flags


def _check_directory(directory: Path, data: DataConfig) -> None:
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


def _prepare_dataset(data: DataConfig, directory: Path | None) -> list[str]:
    data_dir = data.data_dir if directory is None else str(directory / "tfds")
    found, done = find_prepared(data.name, data_dir), "there already"
    if found is None:
        done = "prepared"
        if data.name not in OWN_BUILDERS:
            tfds_build.build(data.name, data_dir)
    elif found.info.file_format == FileFormat.TFRECORD and find_converted(found) is None:
        done = "converted"
        convert(found)
    builder = open_image_dataset(data.name, data_dir).builder
    folder = Path(builder.data_path)
    size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    say(f"Data set {builder.info.full_name}: {done}, {size / 2**20:,.1f} MiB in {folder}")
    return [f"--config.data.data_dir={data_dir}"] if directory else []


def _prepare_weights(init: InitConfig, directory: Path | None) -> list[str]:
    if not init.weights:
        return []
    cache = cache_dir() / "weights"
    cached = set(cache.rglob("*"))
    shared = directory and directory / "weights"
    kept = shared / f"{init.weights}.npz" if shared and init.weights in PUBLISHED else None
    if kept and kept.is_file():
        path, done = kept, "there already"
    else:
        path = locate_weights(init.weights, init.mirror)
        fetched = path.is_relative_to(cache) and path not in cached
        done = "fetched" if fetched else "there already"
        if shared:
            source, path = path, kept or shared / path.name
            if not path.is_file() or path.stat().st_size != source.stat().st_size:
                _copy(source, path)
                done = f"{done} and copied" if fetched else "copied"
    say(f"Weights {init.weights}: {done}, {path.stat().st_size / 2**20:,.1f} MiB in {path}")
    if shared is None:
        return []
    return [f"--config.init.mirror={shared}" if kept else f"--config.init.weights={path}"]


def _copy(source: Path, destination: Path) -> None:
    """Copies a file, which appears in place only when whole."""
    part = destination.with_name(destination.name + ".part")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, part)
        os.replace(part, destination)
    except OSError as error:
        raise UserError(f"{destination}: cannot be written ({error.strerror}).") from error
