"""Which package serves an experiment, or weights. Packages are imported when they are needed."""

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

from ml_collections import ConfigDict

from mlp_core.errors import UserError

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
    return module_of(config, "experiment")


def module_of(config: ConfigDict, name: str) -> ModuleType:
    """The module `name` of the package that serves the experiment, such as "scoring".

    Raises:
        UserError: there is no such task.
    """
    return importlib.import_module(f"{_package_of(config)}.{name}")


def are_of_text(source: str) -> bool:
    """Whether weights are those of a text model: their run's task tells, or the names in the file.

    Of the hub's models their configuration tells. Other weights that are not on this machine, and
    what is not understood, count as those of images.

    Raises:
        UserError: a run's configuration cannot be read, or a file is no weight file.
    """
    # Imported here so that --help and a wrong flag are answered at once.
    from mlp_core.run_directory import RunFiles, has_checkpoint, read_config
    from mlp_core.weight_sources import HUGGING_FACE, WEIGHTS_FILE

    if source.startswith(HUGGING_FACE):
        return _is_bert_of_hub(source)
    path = Path(source).expanduser().resolve()
    is_checkpoint = path.parent.name == RunFiles.of(path).checkpoints.name
    workdir = path.parent.parent if is_checkpoint else path
    if has_checkpoint(workdir):  # Runs older than text here may lack their configuration.
        is_told = RunFiles.of(workdir).config.is_file()
        return is_told and PACKAGES.get(read_config(workdir).get("task")) == TEXT
    file = path / WEIGHTS_FILE if path.is_dir() else path
    return file.is_file() and _is_bert(file)


def _is_bert_of_hub(source: str) -> bool:
    from mlp_core.downloads import DownloadError
    from mlp_core.weight_sources import CONFIG_FILE, fetch_from_hub

    try:
        config = json.loads((fetch_from_hub(source, [CONFIG_FILE]) / CONFIG_FILE).read_bytes())
    except (DownloadError, ValueError):  # Whoever fetches the weights tells what is wrong.
        return False
    return isinstance(config, dict) and config.get("model_type") == "bert"


def _is_bert(file: Path) -> bool:
    """Whether arrays are called as those of BERT in files of the Hugging Face hub."""
    from mlp_core.weight_files import open_weight_file

    names = (name.removeprefix("bert.") for name in open_weight_file(file).headers)
    return any(name.startswith(("embeddings.", "encoder.layer.")) for name in names)


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
