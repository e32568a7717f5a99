"""Which package serves an experiment, or weights. Packages are imported when they are needed."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

from ml_collections import ConfigDict

from mlp_core.errors import UserError
from mlp_core.process.user_paths import user_path

IMAGES, TEXT = "mlp_vision", "mlp_text"
PACKAGES = {
    "image_classification": IMAGES,
    "text_classification": TEXT,
    "masked_lm": TEXT,
}


def experiment_of(config: ConfigDict) -> ModuleType:
    """The module that prepares and trains the experiment.

    Raises:
        UserError: there is no such task.
    """
    return module_of(config, "tasks.experiment")


def module_of(config: ConfigDict, name: str) -> ModuleType:
    """The module `name` of the package that serves the experiment, such as "tools.scoring".

    Raises:
        UserError: there is no such task.
    """
    return importlib.import_module(f"{_package_of(config)}.{name}")


def are_of_text(source: str) -> bool:
    """Whether weights are those of a text model.

    A run tells by its task, a file by the names in it, a folder without one and a model of the hub
    by their configuration. What is not understood counts as weights of images, and so does what is
    not on this machine.

    Raises:
        UserError: a run's configuration cannot be read, or a file is no weight file.
    """
    # Imported here so that --help and a wrong flag are answered at once.
    from mlp_core.run_folder.run_directory import RunFiles, has_checkpoint, read_config
    from mlp_core.weights.sources import CONFIG_FILE, HUGGING_FACE, WEIGHTS_FILE

    if source.startswith(HUGGING_FACE):
        return _hub_says_bert(source)
    path = user_path(source).resolve()
    is_checkpoint = path.parent.name == RunFiles.of(path).checkpoints.name
    workdir = path.parent.parent if is_checkpoint else path
    if has_checkpoint(workdir):  # Runs older than text here may lack their configuration.
        is_told = RunFiles.of(workdir).config.is_file()
        return is_told and PACKAGES.get(read_config(workdir).get("task")) == TEXT
    file = path / WEIGHTS_FILE if path.is_dir() else path
    return _has_names_of_bert(file) if file.is_file() else _says_bert(path / CONFIG_FILE)


def _hub_says_bert(source: str) -> bool:
    from mlp_core.weights.downloads import DownloadError
    from mlp_core.weights.sources import CONFIG_FILE, fetch_from_hub

    try:
        return _says_bert(fetch_from_hub(source, [CONFIG_FILE]) / CONFIG_FILE)
    except DownloadError:  # Whoever fetches the weights tells it.
        return False


def _says_bert(config_file: Path) -> bool:
    from mlp_core.process.files import read_json

    try:
        config = read_json(config_file)
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and config.get("model_type") == "bert"


def _has_names_of_bert(file: Path) -> bool:
    from mlp_core.weights.files import open_weight_file
    from mlp_text.weights.bert import encoder_prefixes

    return bool(encoder_prefixes(open_weight_file(file).headers))


def require_images(config: ConfigDict) -> None:
    """Refuses an experiment on text, for a command that draws or looks at pictures.

    Raises:
        UserError: it is one, or there is no such task.
    """
    if _package_of(config) != IMAGES:
        raise UserError(
            f"{sys.argv[0]} is for experiments on images; the task of this one is {config.task}."
        )


def _package_of(config: ConfigDict) -> str:
    task = config.get("task")
    if task not in PACKAGES:
        raise UserError(
            f"config.task: there is no task {task!r}; choose from {', '.join(PACKAGES)}."
        )
    return PACKAGES[task]
