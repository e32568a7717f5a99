"""The --config flag of the commands that work on an experiment."""

from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from mlp_core.errors import UserError

CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "Config file; ':smoke' behind its name gives a two-minute version. Any field can be set with "
    "--config.GROUP.FIELD=VALUE; configs/common.py lists them.",
    lock_config=True,
)


def config_and_name() -> tuple[ConfigDict, str]:
    """The experiment of --config, and its name: `mixer_digits_smoke` for mixer_digits.py:smoke.

    Raises:
        UserError: the flag is missing.
    """
    if CONFIG.value is None:
        raise UserError("name an experiment, such as --config=configs/mixer_digits.py.")
    config_file, _, arg = flags.FLAGS["config"].config_filename.partition(":")
    return CONFIG.value, "_".join(filter(None, [Path(config_file).stem, arg]))


def weights_or_run(weights: str | None, name: str) -> str:
    """The weights that are named, or the folder in which the experiment `name` trains.

    Raises:
        UserError: none are named, and it has not been trained there.
    """
    run = f"runs/{name}"
    if weights is None and not Path(run).is_dir():
        raise UserError(f"there is no run in {run} yet; train it, or name --weights=...")
    return weights if weights is not None else run


def fields_set() -> dict[str, Any]:
    """The fields that the command line sets, by name: {"data.image_size": 448}."""
    config = CONFIG.value
    names = config_flags.get_override_values(flags.FLAGS["config"])
    return {name: _field(config, name) for name in names}


def _field(config: ConfigDict, name: str) -> Any:
    for part in name.split("."):
        config = config[part]
    return config
