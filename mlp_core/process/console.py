"""Console output: lines above any progress bar, without control characters.

File names, class names, config values and server replies are untrusted; their escape sequences must
not reach a terminal. Printing such text never raises an encoding error.
"""

import contextlib
import errno
import functools
import logging
import os
import re
import sys
import unicodedata
import warnings
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from mlp_core.errors import UserError
from mlp_core.process import preemption
from mlp_core.urls import masked

# Control characters, formats such as bidirectional overrides, invalid UTF-8 bytes, separators.
HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
CURSOR_MOVES = "(\r|\x1b\\[A)"
JOINERS = "\u200c\u200d"  # Used within Persian and Hindi words and in emoji.


def prepare_streams() -> None:
    """Makes the standard streams safe to print any text to.

    A closed stream becomes /dev/null; otherwise the next opened file would take its descriptor and
    receive the output. Control characters, and those that the encoding lacks, are printed as
    escapes, including output of libraries.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # Takes the lowest free descriptor, this one.
            os.set_inheritable(descriptor, True)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
            drops = functools.partial(_until_hung_up, stream, stream.isatty())
            stream.flush = functools.partial(drops, stream.flush)
            write = functools.partial(drops, stream.write)
            stream.write = functools.partial(_write_escaped, write)
    os.environ.setdefault("NO_COLOR", "1")  # Colours would be printed as escapes.


def quiet_libraries() -> None:
    """Silences library logs and warnings that are harmless or repeated in an error message.

    Call it after `preemption.listen`, in a process that runs a command.
    """
    # Pillow's warnings do not name the file; serious ones become errors later.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.TiffImagePlugin")
    warnings.filterwarnings("ignore", r"Image size \(\d+ pixels\) exceeds limit")
    # Orbax logs what it also raises. Once an array has failed it stops awaiting the others, and
    # asyncio or Python reports their errors as unhandled.
    logging.getLogger("absl").addFilter(lambda record: "orbax" not in Path(record.pathname).parts)
    logging.getLogger("asyncio").addFilter(lambda record: "tensorstore" not in record.getMessage())
    sys.unraisablehook = functools.partial(_report_unless_late, sys.unraisablehook)


def _report_unless_late(report: Callable[[Any], object], unraisable: Any) -> None:
    if str(unraisable.exc_value) != "Event loop is closed":
        report(unraisable)


def _until_hung_up(
    stream: TextIOWrapper, is_terminal: bool, call: Callable[..., Any], *args: Any
) -> Any:
    """Calls `write` or `flush`; drops output to a closed terminal or its `tee`.

    The error would end a run that should save on SIGHUP, and it may arrive before the signal.
    """
    try:
        return call(*args)
    except OSError as error:
        terminal_closed = is_terminal and error.errno == errno.EIO
        tee_ended = error.errno == errno.EPIPE and preemption.received() == "SIGHUP"
        if not (terminal_closed or tee_ended):
            raise
        _drop_output(stream)
        return call(*args)


def _drop_output(stream: TextIO) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _write_escaped(write: Callable[[str], int], text: str) -> int:
    """Writes text escaped; on standard error, cursor movements of progress bars are kept."""
    parts = re.split(CURSOR_MOVES, text)
    return write("".join(p if re.fullmatch(CURSOR_MOVES, p) else escaped(p) for p in parts))


def drop_unwritten() -> None:
    """Flushes the standard streams and drops output that cannot be written.

    Python would otherwise report the error at exit and replace the exit status.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            _drop_output(stream)


def escaped(text: str, kept: str = "\n\t") -> str:
    r"""Returns `text` with control characters other than `kept` as escapes such as `\x1b`."""
    if text.isprintable():
        return text
    return "".join(
        c.encode("unicode_escape").decode()
        if unicodedata.category(c) in HIDDEN and c not in kept + JOINERS
        else c
        for c in text
    )


def in_one_line(name: object) -> str:
    """Returns a name for messages and figures, with line breaks escaped as well."""
    return escaped(str(name), kept="")


def print_line(text: str = "") -> None:
    """Prints `text` above any progress bar, with passwords removed from URLs.

    Raises:
        BrokenPipeError: the reader has closed the output.
        UserError: the output cannot be written, for example to a full disk.
    """
    try:
        tqdm.write(escaped(masked(text)), file=sys.stdout)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UserError(f"cannot write to standard output ({error.strerror}).") from error


def print_error(text: str) -> None:
    """Prints `text` on standard error and ignores write errors."""
    with contextlib.suppress(OSError):
        print(escaped(masked(text)), file=sys.stderr, flush=True)


def say(text: str = "") -> None:
    """Same as `print_line`, on the first host only."""
    import jax  # Here: commands print errors without it.

    if jax.process_index() == 0:
        print_line(text)


def say_from_any_host(text: str) -> None:
    """Prints `text` from this host, with its index if there are several."""
    import jax  # Here: commands print errors without it.

    several = jax.process_count() > 1
    print_line(f"host {jax.process_index()}: {text}" if several else text)
