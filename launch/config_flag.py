"""The --config flag of the commands that work on an experiment."""

import sys
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from launch.config_files import name_of
from mlp_core.errors import UserError
from mlp_core.runs.grid import value_at


def _arguments() -> list[str] | None:
    """The command's arguments without a --flagfile that cannot be read; None where all can.

    ml_collections reads these files when the flag is defined, before anyone could report an error;
    parsing reads them again.
    """
    try:
        flags.FLAGS.read_flags_from_files(sys.argv, force_gnu=False)
    except (flags.Error, OSError, ValueError):
        return [arg for arg in sys.argv if "flagfile" not in arg]
    return None


CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "Config file; ':smoke' behind its name gives a two-minute version. Any field can be set with "
    "--config.GROUP.FIELD=VALUE; run_fields.py and common.py (text: text_common.py) in configs/ "
    "list them.",
    lock_config=True,
    sys_argv=_arguments(),
)


def config_and_name() -> tuple[ConfigDict, str]:
    """The experiment of --config, and its name: `mixer_digits_smoke` for mixer_digits.py:smoke.

    Raises:
        UserError: the flag is missing.
    """
    if CONFIG.value is None:
        raise UserError("name an experiment, such as --config=configs/mixer_digits.py.")
    return CONFIG.value, name_of(flags.FLAGS["config"].config_filename)


def fields_set() -> dict[str, Any]:
    """The fields that the command line sets, by name: {"data.image_size": 448}."""
    config = CONFIG.value
    names = config_flags.get_override_values(flags.FLAGS["config"])
    return {name: value_at(config, name) for name in names}
