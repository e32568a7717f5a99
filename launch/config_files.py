"""Config files, by name and with what stands behind a colon, and what may be wrong with them."""

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from mlp_core.errors import UserError


def load(file: str) -> ConfigDict:
    """The experiment of a config file, such as "configs/mixer_digits.py:smoke".

    Raises:
        UserError: the file is missing, or cannot be run.
    """
    sys.modules.pop("config_config", None)  # Of another file; its get_config would be taken.
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", None, flag_values=values, lock_config=True)
    try:
        values(["", f"--config={file}"])
        check_config(values["config"].value, where=file)  # It is run when it is first looked at.
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # A config file runs code of any kind.
        raise UserError(what_is_wrong(error, [file], where=file)) from error
    return values["config"].value


def check_config(config: Any, where: str) -> None:
    """Refuses what is no configuration, though `get_config` has returned it.

    Raises:
        UserError: begins with `where`.
    """
    try:
        hasattr(config, "items")
    except OSError as error:  # ml_collections raises it on first use if the file cannot be read.
        reason = str(error.__cause__).splitlines()[-1].strip()
        raise UserError(f"{where}: {reason}") from error
    if not isinstance(config, ConfigDict):
        raise UserError(f"{where}: get_config returns {type(config).__name__}, not a ConfigDict.")
    groups = [config]
    for group in groups:
        for name, value in group.items():
            if not isinstance(name, str):
                raise UserError(f"{where}: {name!r} is no name of a field, which are strings.")
            if isinstance(value, ConfigDict):
                groups.append(value)


def name_of(file: str) -> str:
    """The name of its experiment: "mixer_digits_smoke" for "configs/mixer_digits.py:smoke"."""
    path, _, arg = file.partition(":")
    return "_".join(filter(None, [Path(path).stem, arg]))


def what_is_wrong(error: BaseException, files: Sequence[str], where: str) -> str:
    """One sentence for whatever parsing flags or loading one of the config files may raise.

    It begins with the line in a config file, if the error comes from one, else with `where`.
    """
    text = str(error.args[0] if error.args else error)
    if isinstance(error, SystemExit):
        return f"{where}: it ends the program (sys.exit); let get_config return a ConfigDict."
    if line := _line_in_config_file(error, files):
        return f"{line}: {type(error).__name__}: {text}"
    if text.endswith("has no attribute 'get_config'"):
        return f"{where}: it defines no function get_config(), which returns a ConfigDict."
    if isinstance(error, KeyError | AttributeError):  # ml_collections: no such field.
        field, *hint = text.replace("\\n", "\n").splitlines() or [""]
        field = field.strip("'\"\\")
        return f"{where}: there is no field '{field}'. {' '.join(hint)}".rstrip(" '\"")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if "Traceback" in text or isinstance(error, OSError):  # The last line names the cause.
        return f"{where}: {lines[-1]}"
    reason = " ".join(lines) or type(error).__name__
    return reason if isinstance(error, flags.Error) else f"{where}: {reason}"


def _line_in_config_file(error: BaseException, files: Sequence[str]) -> str:
    """The place in a config file that an error comes from; empty where it is another's."""
    paths = [file.partition(":")[0] for file in files]
    if isinstance(error, SyntaxError) and error.filename in paths:
        return f"{error.filename}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename in paths]
    is_refused_argument = isinstance(error, ValueError)  # Such as an unknown variant.
    return f"{paths[0]}, line {lines[-1]}" if lines and not is_refused_argument else ""
