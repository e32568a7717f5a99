"""SIGTERM: whoever takes a machine away asks its processes to end first.

A run saves its state after the step at hand and ends; what has nothing to lose ends at once. The
same command goes on.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

STATUS = 75  # Exit status; EX_TEMPFAIL: try again later.


def end_at_once() -> None:
    """Ends the process wherever it is, which everything here survives."""
    print("ended by SIGTERM; give the same command again", file=sys.stderr, flush=True)
    os._exit(STATUS)


_action: Callable[[], object] = end_at_once


def listen() -> None:
    """From now on SIGTERM ends the process with `STATUS`, but see `instead`. For the main thread.

    A thread listens: a handler in the main thread would not be called before a compilation, say,
    is through, and an error that it raises may be lost where it strikes.
    """

    def wait(signals: socket.socket, sender: socket.socket) -> None:
        while number := signals.recv(1):
            if number[0] == signal.SIGTERM:
                _action()

    signals, sender = socket.socketpair()
    sender.setblocking(False)
    signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=wait, args=(signals, sender), daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: None)  # Only signals with a handler wake.


def ignore() -> None:
    """For when all is done: Python, as it ends, would have SIGTERM kill the process again."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


@contextmanager
def instead(action: Callable[[], object]) -> Iterator[None]:
    """SIGTERM calls `action` in here, in a thread of its own, and the process goes on."""
    global _action
    former, _action = _action, action
    try:
        yield
    finally:
        _action = former


class SaveRequest:
    """Whether SIGTERM, to any of the hosts, asks a run to save and end. A context."""

    def __init__(self):
        """Nothing has come yet."""
        self._came = threading.Event()
        self._calls = 0
        self._kept = ExitStack()

    def __enter__(self) -> "SaveRequest":
        """Leaves SIGTERM as it is."""
        return self

    def __exit__(self, *_) -> None:
        """Leaves SIGTERM as it was before."""
        self._kept.close()

    def has_come(self, step: int) -> bool:
        """Whether to save `step` and end; asked once a step by every host, all told the same.

        Until a single host asks a second time there is nothing to lose and SIGTERM ends it at
        once. Several hosts settle a step by JAX, which has its own handler.
        """
        # Imported here: a command listens before it loads anything.
        import jax
        from jax.experimental import multihost_utils

        if jax.process_count() > 1:
            return multihost_utils.reached_preemption_sync_point(step)
        self._calls += 1
        if self._calls == 2:
            self._kept.enter_context(instead(self._came.set))
        return self._came.is_set()
