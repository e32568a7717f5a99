"""What all commands share: flags, the program cache, and one sentence for a user's mistake."""

import sys
from collections.abc import Callable
from pathlib import Path

from absl import app, flags
from ml_collections import ConfigDict, config_flags

from mlp_core.errors import UserError
from mlp_core.host_memory import keep_freed_memory

CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "Config file; ':smoke' behind its name gives a two-minute version. Any field can be set with "
    "--config.GROUP.FIELD=VALUE; configs/common.py lists them.",
    lock_config=True,
)
DEBUG = flags.DEFINE_bool("debug", False, "Shows the traceback of an error.")

MISTAKE = 2  # Exit status where the user has something to mend.
INTERRUPTED = 130  # What a shell reports for Ctrl-C.


def run_command(main: Callable[[], None]) -> None:
    """Parses the flags, calls `main` and exits, with 2 for a mistake of the user's."""
    try:
        _parse_flags(sys.argv)
        _set_up()
        main()
    except UserError as error:
        if any(arg.startswith(("--debug", "-debug")) for arg in sys.argv):
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(MISTAKE)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        sys.exit(INTERRUPTED)


def config_and_name() -> tuple[ConfigDict, str]:
    """The experiment of --config, and its name: `mixer_digits_smoke` for mixer_digits.py:smoke.

    Raises:
        UserError: the flag is missing.
    """
    if CONFIG.value is None:
        raise UserError("name an experiment, such as --config=configs/mixer_digits.py.")
    config_file, _, arg = flags.FLAGS["config"].config_filename.partition(":")
    return CONFIG.value, "_".join(filter(None, [Path(config_file).stem, arg]))


def _parse_flags(argv: list[str]) -> None:
    app.define_help_flags()
    try:
        rest = flags.FLAGS(argv)
        # A config file that cannot be loaded fails when it is first looked at.
        if CONFIG.value is not None:
            CONFIG.value.to_dict()
    except SystemExit:
        if any(arg.startswith(("--help", "-help")) for arg in argv):
            sys.exit(0)  # No failure.
        raise
    except Exception as error:  # A config file runs code of any kind.
        raise UserError(_what_is_wrong(error)) from error
    if len(rest) > 1:
        raise UserError(f"{rest[1]!r} is no flag; see {argv[0]} --help.")


def _what_is_wrong(error: Exception) -> str:
    """One sentence for whatever parsing flags or loading a config file may raise."""
    text = str(error.args[0] if error.args else error)
    if isinstance(error, KeyError | AttributeError):  # ml_collections: no such field.
        field, *hint = text.replace("\\n", "\n").splitlines() or [""]
        field = field.strip("'\"\\")
        return f"--config: there is no field '{field}'. {' '.join(hint)}".rstrip(" '\"")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if "Traceback" in text or isinstance(error, OSError):  # The last line names the cause.
        return f"--config: {lines[-1]}"
    return " ".join(lines) or type(error).__name__


def _set_up() -> None:
    # Imported here so that --help and a wrong flag are answered at once.
    from mlp_core.compilation_cache import enable_compilation_cache

    keep_freed_memory()
    enable_compilation_cache()
