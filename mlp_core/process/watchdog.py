"""Ends a stalled process and reports what it waits for, so that it can be restarted.

The main thread announces each wait; a watchdog thread checks the time since the last one.
"""

import faulthandler
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlp_core.process.console import print_error
from mlp_core.process.files import whole_output

STATUS = 124  # Exit status, that of timeout(1).
MOST_LOOKS, LONGEST_PAUSE = 20, 10.0  # Checks within the limit; seconds between two.
PATIENCE = 10  # Seconds for the final messages and traces; the disk itself may hang.

_waits_for = ["the start"]  # A new list each time, so that repeated words count as well.


def waits_for(what: str) -> None:
    """Announces what the main thread is about to wait for, such as "data of step 12"."""
    global _waits_for
    _waits_for = [what]


@contextmanager
def limited(seconds: float, traces: Path | None = None) -> Iterator[None]:
    """Ends the process with `STATUS` if `waits_for` is not called inside for `seconds`.

    Args:
      seconds: running time; time while the process is stopped does not count. 0: no limit.
      traces: file for the stack traces of all threads at such an exit; None: no file.
    """
    if not seconds:
        yield
        return
    ended = threading.Event()
    threading.Thread(target=_watch, args=(seconds, traces, ended), daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _watch(seconds: float, traces: Path | None, ended: threading.Event) -> None:
    pause = min(seconds / MOST_LOOKS, LONGEST_PAUSE)
    seen, waited = None, 0.0
    while not ended.wait(pause):
        waited = waited + pause if seen is _waits_for else 0.0
        seen = _waits_for
        if waited >= seconds:
            teller = threading.Thread(target=_tell, args=(seconds, seen[0], traces), daemon=True)
            teller.start()
            teller.join(PATIENCE)
            os._exit(STATUS)


def _tell(seconds: float, what: str, traces: Path | None) -> None:
    where = f" Where each thread is, {traces} tells." if traces else ""
    print_error(
        f"error: nothing has moved for {seconds / 60:g} minutes (config.train.stall_limit), in "
        f"which {what} was waited for.{where} Give the same command again; training goes on from "
        "its last checkpoint."
    )
    if traces:
        with whole_output(traces) as part, part.open("w") as file:
            faulthandler.dump_traceback(file)
