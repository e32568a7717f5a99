"""Which package serves an experiment: its `config.task` tells. Imported when it is asked for."""

import importlib
import sys
from types import ModuleType

from ml_collections import ConfigDict

from mlp_core.errors import UserError

PACKAGES = {
    "image_classification": "mlp_vision",
    "text_classification": "mlp_text",
    "masked_lm": "mlp_text",
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


def require_images(config: ConfigDict) -> None:
    """Refuses an experiment on text, for a command that draws or looks at pictures.

    Raises:
        UserError: it is one, or there is no such task.
    """
    if _package_of(config) != "mlp_vision":
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
