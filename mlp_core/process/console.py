"""What a command prints: lines above any progress bar, without control characters.

Names of files and classes, values of configurations and replies of servers come from strangers;
their escape sequences must not reach a terminal. Printing such text never raises an error for its
characters, whatever the encoding of the terminal.
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

# Control characters, formats such as bidirectional overrides, bytes that are not UTF-8, separators.
HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
CURSOR_MOVES = "(\r|\x1b\\[A)"
JOINERS = "\u200c\u200d"  # Parts of words in Persian and Hindi, and of emoji.


def prepare_streams() -> None:
    """Makes the standard streams safe to print any text to.

    A closed stream becomes /dev/null; otherwise the next file that is opened would take its place
    and receive what is printed. Control characters, and those that the encoding lacks, are printed
    as escapes, whichever library prints them.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # Takes the lowest free number, this one.
            os.set_inheritable(descriptor, True)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
            drops = functools.partial(_until_hung_up, stream, stream.isatty())
            stream.flush = functools.partial(drops, stream.flush)
            stream.write = functools.partial(drops, stream.write)
            stream.write = functools.partial(_write_escaped, stream.write)
    os.environ.setdefault("NO_COLOR", "1")  # Colours would be printed as escapes, too.


def quiet_libraries() -> None:
    """Silences logs and warnings of libraries that are harmless or reported in an error message.

    For a process that runs a command; called after `preemption.listen`.
    """
    # Pillow's warnings do not name the file; what matters among them is an error later.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.TiffImagePlugin")
    warnings.filterwarnings("ignore", r"Image size \(\d+ pixels\) exceeds limit")
    # Orbax logs what it also raises. Once an array has failed it stops listening to the others, so
    # that asyncio, or Python, reports their errors as unhandled.
    logging.getLogger("absl").addFilter(lambda record: "orbax" not in Path(record.pathname).parts)
    logging.getLogger("asyncio").addFilter(lambda record: "tensorstore" not in record.getMessage())
    sys.unraisablehook = functools.partial(_report_unless_late, sys.unraisablehook)


def _report_unless_late(report: Callable[[Any], object], unraisable: Any) -> None:
    if str(unraisable.exc_value) != "Event loop is closed":
        report(unraisable)


def _until_hung_up(
    stream: TextIOWrapper, is_terminal: bool, call: Callable[..., Any], *args: Any
) -> Any:
    """Calls `write` or `flush`; once a terminal is closed, output to it or its `tee` is dropped.

    The error would end a run that SIGHUP lets save. A terminal's may come before SIGHUP does.
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
    """Writes a text, of a library's perhaps; on standard error progress bars move the cursor."""
    parts = re.split(CURSOR_MOVES, text)
    return write("".join(p if re.fullmatch(CURSOR_MOVES, p) else escaped(p) for p in parts))


def drop_unwritten() -> None:
    """Flushes the standard streams; what cannot be written is dropped.

    Python would otherwise report it while exiting and replace the exit status.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            _drop_output(stream)


def escaped(text: str, kept: str = "\n\t") -> str:
    r"""`text` with its control characters, but for those `kept`, as escapes such as `\x1b`."""
    if text.isprintable():
        return text
    return "".join(
        c.encode("unicode_escape").decode()
        if unicodedata.category(c) in HIDDEN and c not in kept + JOINERS
        else c
        for c in text
    )


def in_one_line(name: object) -> str:
    """The name of a file or class for messages and figures: line breaks are escapes, too."""
    return escaped(str(name), kept="")


def print_line(text: str = "") -> None:
    """Prints `text`, above the progress bar if one is drawn, without passwords in URLs.

    Raises:
        BrokenPipeError: nobody reads the output any more.
        UserError: the output cannot be written, to a full disk for instance.
    """
    try:
        tqdm.write(escaped(masked(text)), file=sys.stdout)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UserError(f"cannot write to standard output ({error.strerror}).") from error


def print_error(text: str) -> None:
    """Prints `text` on standard error; that nobody can read it is no further error."""
    with contextlib.suppress(OSError):
        print(escaped(masked(text)), file=sys.stderr, flush=True)


def say(text: str = "") -> None:
    """As `print_line`, on the first host only."""
    import jax  # Here: commands print errors without it.

    if jax.process_index() == 0:
        print_line(text)


def say_from_any_host(text: str) -> None:
    """Prints what only this host knows, with its number where there are several."""
    import jax  # Here: commands print errors without it.

    several = jax.process_count() > 1
    print_line(f"host {jax.process_index()}: {text}" if several else text)
