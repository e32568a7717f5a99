"""Fetches what a run needs ahead of time: the prepared dataset and published weights."""

from pathlib import Path

from ml_collections import ConfigDict

from mlp_core.config import parse_config
from mlp_core.data.preparation import (
    THERE,
    check_directory,
    data_dir_flags,
    data_dir_of,
    place_of,
    prepare_dataset,
    prepare_weights,
    say_flags,
    size_in_words,
)
from mlp_core.data.splits import check_splits
from mlp_core.errors import MissingError, noted
from mlp_core.process.console import say
from mlp_core.weights.sources import CONFIG_FILE
from mlp_vision.data.image_dataset import (
    OWN_BUILDERS,
    is_folder_of_pictures,
    open_image_dataset,
)
from mlp_vision.data.real_labels import locate_real_labels, open_real_labels
from mlp_vision.tasks.config import ImageClassificationConfig, ImageDataConfig, InitConfig
from mlp_vision.weights.published_weights import PUBLISHED, locate_weights


def prepare(config: ConfigDict, directory: Path | None = None) -> list[str]:
    """Fetches and prepares what the experiment needs, and prints what already exists.

    Args:
      config: the experiment.
      directory: a directory shared by all hosts of a pod; a dataset given by name goes into
        `directory`/tfds, weights from the web into `directory`/weights, ReaL labels from the web
        into `directory`/labels; local paths in the config stay. None: the default locations of
        this machine.

    Returns:
        The flags with which a run finds everything; empty without `directory`.

    Raises:
        MissingError: something is unavailable; names everything that is.
        UserError: something in the config or the data is wrong.
    """
    settings = parse_config(ImageClassificationConfig, config)
    if directory is not None:
        directory = directory.absolute()
        check_directory(directory, data_dir=settings.data.data_dir)
    flags, missing = [], []
    with noted(missing):
        flags += _prepare_dataset(settings.data, directory)
    with noted(missing):
        flags += _prepare_weights(settings.init, directory)
    with noted(missing):
        flags += _prepare_real_labels(settings.data.real_labels, directory)
    if missing:
        raise MissingError("\n".join(missing))
    say_flags(flags)
    return flags


def _prepare_dataset(data: ImageDataConfig, directory: Path | None) -> list[str]:
    if is_folder_of_pictures(data.name):
        dataset = open_image_dataset(data.name, None, data.label)
        check_splits(dataset, data.train_split, data.eval_splits)
        say(f"Data set {data.name}: {THERE}, a folder of pictures")
        return []
    data_dir = data_dir_of(data.data_dir, directory)
    folder = prepare_dataset(data.name, data_dir, OWN_BUILDERS)
    dataset = open_image_dataset(data.name, data_dir, data.label)
    check_splits(dataset, data.train_split, data.eval_splits)
    return data_dir_flags(directory, [folder])


def _prepare_weights(init: InitConfig, directory: Path | None) -> list[str]:
    source = init.weights
    if not source:
        return []
    place = _place_in(directory / "weights", source) if directory else None
    prepare_weights(source, lambda: locate_weights(source, init.mirror), place, [CONFIG_FILE])
    if not place:
        return []
    if source in PUBLISHED:
        return [f"--config.init.mirror={directory / 'weights'}"]
    return [f"--config.init.weights={place}"]


def _prepare_real_labels(source: str | None, directory: Path | None) -> list[str]:
    if source is None:
        return []
    path = locate_real_labels(source, directory and directory / "labels")
    open_real_labels(str(path))
    say(f"ReaL's labels {source}: {size_in_words(path)}")
    is_moved = directory is not None and path.is_relative_to(directory)
    return [f"--config.data.real_labels={path}"] if is_moved else []


def _place_in(folder: Path, source: str) -> Path | None:
    """Returns the shared path of weights; None for local files, which stay in place."""
    return folder / f"{source}.npz" if source in PUBLISHED else place_of(folder, source)
