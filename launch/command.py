"""What all commands share: flags, the program cache, and one sentence for a user's mistake."""

import sys
from collections.abc import Callable

from absl import app, flags

from mlp_core.errors import UserError

DEBUG = flags.DEFINE_bool("debug", False, "Shows the traceback of an error.")

INTERRUPTED = 130  # What a shell reports for Ctrl-C.


def run_command(main: Callable[[], None]) -> None:
    """Parses the flags, calls `main` and exits: 0 when done, 2 for a mistake of the user's."""
    try:
        _parse_flags(sys.argv)
        _set_up_jax()
        main()
    except UserError as error:
        if "--debug" in sys.argv:
            raise
        sys.exit(_fail(str(error)))
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        sys.exit(INTERRUPTED)


def _parse_flags(argv: list[str]) -> None:
    app.define_help_flags()
    try:
        rest = flags.FLAGS(argv)
    except SystemExit:  # After --help, which is no failure.
        sys.exit(0)
    except Exception as error:  # A config file runs code of any kind.
        reason = str(error.args[0] if error.args else error) or type(error).__name__
        raise UserError(f"{' '.join(argv[1:])}: {reason.splitlines()[0]}") from error
    if len(rest) > 1:
        raise UserError(f"{rest[1]!r} is no flag; see {argv[0]} --help.")


def _set_up_jax() -> None:
    from mlp_core.compilation_cache import enable_compilation_cache

    enable_compilation_cache()


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2
