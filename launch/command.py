"""What all commands share: flags, the program cache, and one sentence for a user's mistake."""

import atexit
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from absl import app, flags

from launch.config_files import check_config, what_is_wrong
from mlp_core.distributed import hosts
from mlp_core.errors import TRY_AGAIN, LostHostError, Preempted, UserError
from mlp_core.process import preemption
from mlp_core.process.console import drop_unwritten, prepare_streams, print_error, quiet_libraries
from mlp_core.process.files import check_output, full_disk_told
from mlp_core.process.memory import collect_seldom, keep_freed_memory
from mlp_core.process.user_paths import user_path

DEBUG = flags.DEFINE_bool("debug", False, "Shows the traceback of an error.")

FAILED = 1  # Exit status of a fault of the program.
MISTAKE = 2  # Where the user has something to mend.
BROKEN_PIPE = 141  # What a shell reports for SIGPIPE.

# Registered before all other exit handlers of a command, and so called after them.
atexit.register(preemption.keep_exit_status)


def run_command(
    main: Callable[..., None],
    takes_files: bool = False,
    when_interrupted: str = "",
    uses_jax: bool = True,
) -> None:
    """Parses the flags, calls `main` and exits: 2 for a mistake of the user's, 75 for SIGTERM.

    After SIGHUP the status is 75, too, and after Ctrl-C 130, see `preemption`.

    With `takes_files`, `main` is called with the list of what stands beside the flags. A command
    that does not use JAX starts at once. One of several hosts that fails ends the others, too.
    """
    prepare_streams()
    # Figures are files; a backend for windows that matplotlib lacks here would be an error.
    os.environ["MPLBACKEND"] = "agg"
    collect_seldom()
    preemption.listen()
    quiet_libraries()
    try:
        with preemption.ctrl_c_unwinds(when_interrupted):
            with _system_errors_told(), full_disk_told("cannot write"):
                files = _parse_flags(sys.argv)
                if files and not takes_files:
                    raise UserError(f"{files[0]!r} is no flag; see {sys.argv[0]} --help.")
                if uses_jax:
                    _set_up()
                main(*([files] if takes_files else []))
                sys.stdout.flush()
            if hosts.are_several():
                _end_together()
        preemption.done(0)
    except UserError as error:
        print_error(traceback.format_exc() if _wants_traceback() else f"error: {error}")
        hosts.leave(error.status if isinstance(error, LostHostError) else MISTAKE, str(error))
    except KeyboardInterrupt:
        preemption.report_interruption()
        hosts.leave(preemption.INTERRUPTED, f"interrupted{when_interrupted}")
    except Preempted as end:
        sentence = f"ended by {preemption.received()}; {end}"
        print_error(sentence)
        if hosts.are_several():  # All save and end.
            _end_together()
        hosts.leave(TRY_AGAIN, sentence)
    except BrokenPipeError:  # Whoever reads the output has had enough, `head` say.
        hosts.leave(BROKEN_PIPE, "its output is not read any more")
    except Exception as error:
        if not hosts.are_several():
            raise
        _leave_for(error, when_interrupted)
    finally:
        drop_unwritten()


@contextmanager
def _system_errors_told() -> Iterator[None]:
    """One sentence for what the system refuses, where nothing nearer has reported it.

    Raises:
        UserError: a file or another resource cannot be used, or there is no home directory or none
          of the devices that JAX_PLATFORMS names.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.strerror is None:  # Not the system's own error.
            raise
        where = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
        if not where and not _has_current_directory():
            where = "the current directory"
        reason = f"{where}: {error.strerror}" if where else error.strerror
        raise UserError(f"{reason}; --debug tells where.") from error
    except (RuntimeError, AssertionError) as error:  # Those of pathlib and JAX have no own class.
        if "home directory" in str(error):
            raise UserError(
                "there is no home directory for caches and settings; set HOME to a directory."
            ) from error
        platforms = os.environ.get("JAX_PLATFORMS")
        raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
        if platforms and raised_in.endswith("xla_bridge.py"):
            raise UserError(
                f"JAX_PLATFORMS={platforms}: JAX finds no such devices here; unset it, or install "
                "what JAX needs for them."
            ) from error
        raise


def _has_current_directory() -> bool:
    try:
        return bool(os.getcwd())
    except FileNotFoundError:
        return False


def require(*holders: flags.FlagHolder) -> None:
    """Checks that flags are given.

    Raises:
        UserError: names the ones that are missing.
    """
    missing = [f"--{holder.name}=..." for holder in holders if holder.value is None]
    if missing:
        raise UserError(f"{sys.argv[0]} needs {' and '.join(missing)}; see --help.")


def path_of(holder: flags.FlagHolder) -> Path:
    """The path that a flag names.

    Raises:
        UserError: there is no such path on this system, such as ~NAME without a user NAME.
    """
    return user_path(holder.value, f"--{holder.name}=")


def file_to_write(holder: flags.FlagHolder) -> Path | None:
    """The file that a flag names, or None where it is not given.

    Raises:
        UserError: no file can be written there, or something lies there.
    """
    if not holder.value:
        return None
    file = path_of(holder)
    check_output(file, flag=holder.name)
    return file


def _parse_flags(argv: list[str]) -> list[str]:
    """Parses the flags and returns what is none."""
    app.define_help_flags()
    end = argv.index("--") if "--" in argv else len(argv)
    argv = [*map(_with_underscores, argv[:end]), *argv[end:]]
    asks_for_help = any(arg.startswith(("--help", "-help")) for arg in argv)
    try:
        rest = flags.FLAGS(argv)
        # A config file that cannot be loaded fails when it is first looked at.
        if "config" in flags.FLAGS and (config := flags.FLAGS["config"]).present:
            check_config(config.value, where=f"--config={config.config_filename}")
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # A config file runs code of any kind.
        if asks_for_help and isinstance(error, SystemExit):
            sys.exit(0)  # No failure.
        if asks_for_help:  # It cannot be printed.
            raise
        files = [arg.split("=", 1)[1] for arg in argv if arg.startswith("--config=")]
        raise UserError(what_is_wrong(error, files, where="--config")) from error
    return rest[1:]


def _with_underscores(arg: str) -> str:
    """`--dry-run`, as other programs spell such flags, is `--dry_run`."""
    name, *value = arg.split("=", 1)
    if name.startswith("--") and "." not in name:
        name = f"--{name[2:].replace('-', '_')}"
    return "=".join([name, *value])


def _wants_traceback() -> bool:
    return DEBUG.value if flags.FLAGS.is_parsed() else "--debug" in sys.argv


def _leave_for(error: Exception, when_interrupted: str) -> NoReturn:
    """Ends one of several hosts, which may have met no more than another one's end."""
    first_line = (str(error).splitlines() or [""])[0]
    failure = hosts.failure_of_another()
    if failure is None and "Connection closed by peer" in first_line:  # It has left no word.
        sentence = f"another host is gone ({first_line}){when_interrupted}"
        failure = hosts.Failure(hosts.LOST_HOST, sentence)
    if failure is None or _wants_traceback():
        print_error(traceback.format_exc())
    status, sentence = failure or (FAILED, f"{type(error).__name__}: {first_line}")
    print_error(f"error: {sentence}")
    hosts.leave(status, sentence)


def _end_together() -> None:
    # Imported here so that --help and a wrong flag are answered at once.
    from mlp_core.distributed.agreement import end_together

    end_together()


def _set_up() -> None:
    # Imported here so that --help and a wrong flag are answered at once.
    from mlp_core.process.compilation import enable_compilation_cache

    keep_freed_memory()
    enable_compilation_cache()
