"""Signals that end a command: SIGTERM, SIGHUP and Ctrl-C.

SIGTERM announces a preempted machine or the end of a job's time, SIGHUP a closed terminal. A
training run then saves a checkpoint after the current step and exits; other commands exit at once.
The same command resumes. Ctrl-C unwinds the main thread, and a second Ctrl-C exits at once.
"""

import fcntl
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Protocol

from mlp_core.errors import TRY_AGAIN

INTERRUPTED = 130  # Exit status after Ctrl-C, as shells report it.
LOOK_EVERY = 1.0  # Seconds between polls for a signal to another host.
WAIT_FOR_OTHERS = 0.05  # Seconds between polls for the steps of the other hosts.


class Store(Protocol):
    """Key-value store shared by all hosts of a run; see `hosts.Store`."""

    index: int
    num_hosts: int

    def put(self, name: str, text: str) -> None:
        """Stores a text."""

    def new_place(self, topic: str) -> str:
        """Returns an unused key prefix, the same for the n-th call on each host."""

    def folder(self, folder: str) -> dict[str, str]:
        """Returns the texts stored as FOLDER/KEY, by key."""


def end_at_once() -> None:
    """Exits at once, wherever the main thread is. Files on disk stay consistent."""
    _write_to_stderr(f"ended by {_received}; give the same command again")
    _remove_unfinished()
    _exit(TRY_AGAIN, f"ended by {_received}")


def end_silently() -> None:
    """Same as `end_at_once`, for a process whose caller reports it."""
    _remove_unfinished()
    os._exit(TRY_AGAIN)


def _exit_alone(status: int, _: str) -> None:
    os._exit(status)


_action: Callable[[], object] = end_at_once
_exit: Callable[[int, str], object] = _exit_alone
_received = "SIGTERM"  # The last signal that asked a run to save.
_listening = False
_unwinds = False  # Whether Ctrl-C raises KeyboardInterrupt.
_has_unwound = False  # Whether Ctrl-C has raised it.
_when_interrupted = ""
_interruption_is_reported = threading.Lock()
_ctrl_cs = 0
_final_status: int | None = None
_unfinished: set[Path] = set()


def listen() -> None:
    """Installs handlers of SIGTERM, SIGHUP and Ctrl-C. Call it in the main thread.

    Signals that are already ignored, as SIGHUP under nohup, stay ignored. Later calls only
    reinstall handlers that a library has replaced.

    A thread acts on the signals, since Python runs handlers in the main thread, where they would
    wait for a compilation to finish.
    """
    global _listening
    if not _listening:
        receiver, sender = _pipe()
        os.set_blocking(sender, False)
        signal.set_wakeup_fd(sender, warn_on_full_buffer=False)
        threading.Thread(target=_wait, args=(receiver,), daemon=True).start()
        sys.unraisablehook = _end_if_ctrl_c_was_lost
        _listening = True
    # Only signals with a handler in Python wake the thread.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if number == signal.SIGTERM or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _note)
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, _raise_if_it_unwinds)


def listen_again() -> None:
    """Reinstalls handlers that a library has replaced, if this process listens.

    JAX replaces the SIGTERM handler in multi-host initialization.
    """
    if _listening and threading.current_thread() is threading.main_thread():
        listen()


def done(status: int) -> None:
    """Fixes the exit status of a finished command against later signals.

    Otherwise SIGTERM could still kill the process while Python shuts down.
    """
    global _final_status, _unwinds
    _final_status, _unwinds = status, False
    if _listening:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


def keep_exit_status() -> None:
    """Ignores Ctrl-C while Python shuts down; the last exit handler of a command.

    Python restores the default handler there, which would replace the exit status.
    """
    if _listening:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def ctrl_c_unwinds(when_interrupted: str = "") -> Iterator[None]:
    """Context in which the first Ctrl-C raises KeyboardInterrupt. Elsewhere it exits at once.

    `when_interrupted` follows the word "interrupted" in the message of an immediate exit.
    """
    global _unwinds, _when_interrupted
    _unwinds, _when_interrupted = True, when_interrupted
    try:
        yield
    finally:
        _unwinds = False


@contextmanager
def instead(action: Callable[[], object]) -> Iterator[None]:
    """Context in which SIGTERM and SIGHUP call `action` in a thread; the process continues."""
    global _action
    former, _action = _action, action
    try:
        yield
    finally:
        _action = former


@contextmanager
def exit_by(leave: Callable[[int, str], object]) -> Iterator[None]:
    """Context in which SIGTERM and SIGHUP exit by `leave(status, sentence)`."""
    global _exit
    former, _exit = _exit, leave
    try:
        yield
    finally:
        _exit = former


@contextmanager
def removed_at_end(unfinished: Path) -> Iterator[None]:
    """Removes a temporary file or directory if a signal ends the process inside."""
    _unfinished.add(unfinished)
    try:
        yield
    finally:
        _unfinished.discard(unfinished)


def received() -> str:
    """Returns the name of the last signal that asked this process to save; SIGTERM by default."""
    return _received


class SaveRequest:
    """Context that reports whether a signal to any host asks the run to save and exit.

    All hosts must save the same step. When one is signalled, each publishes the step it has reached
    and waits for the others; they save the step after the largest of these.
    """

    def __init__(self, store: Store | None = None):
        """`store` connects the hosts of the run; None for a single process."""
        self._store = store
        self._place = store.new_place("save request") if store else ""
        self._came, self._ended = threading.Event(), threading.Event()
        self._settling = threading.Lock()
        self._calls = 0
        self._step = -1
        self._settled_step: int | None = None
        self._kept = ExitStack()

    def __enter__(self) -> "SaveRequest":
        """Leaves signal handling unchanged until `has_come`."""
        if self._store:
            threading.Thread(target=self._settle, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        """Restores the previous handling of signals."""
        self._kept.close()
        self._ended.set()
        self._came.set()

    def has_come(self, step: int) -> bool:
        """Whether to save `step` and exit; called once per step, with the same result on all hosts.

        Before the second call of a host there is nothing to lose, so a signal ends it at once.
        """
        self._calls += 1
        if self._calls == 2:
            listen_again()
            self._kept.enter_context(instead(self._came.set))
        if not self._store:
            return self._came.is_set()
        with self._settling:
            self._step = step
        return step == self._settled_step

    def _settle(self) -> None:
        """Runs in a thread until the hosts agree on a step."""
        with suppress(RuntimeError):  # Raised when host 0 is gone; JAX ends this process.
            while not (self._came.wait(LOOK_EVERY) or self._store.folder(self._place)):
                pass
            with self._settling:  # The step must not change after it is published.
                # A finished host answers as well: others may have been signalled just before.
                self._store.put(f"{self._place}/{self._store.index}", str(self._step))
                while len(steps := self._store.folder(self._place)) < self._store.num_hosts:
                    if self._ended.wait(WAIT_FOR_OTHERS):
                        return
                self._settled_step = 1 + max(int(step) for step in steps.values())


def _pipe() -> list[int]:
    """Returns the ends of a pipe; never a standard stream, even if one is closed."""
    ends = os.pipe()
    moved = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 3) for end in ends]
    for end in ends:
        os.close(end)
    return moved


def _wait(signals: int) -> None:
    """Acts on signals as they arrive, in a thread."""
    global _ctrl_cs
    while number := os.read(signals, 1):
        if number[0] in (signal.SIGTERM, signal.SIGHUP):
            if _final_status is None:
                _note(number[0])
                _action()
        elif number[0] == signal.SIGINT:
            _ctrl_cs += 1
            # The main thread may already have raised KeyboardInterrupt and left the context.
            if _ctrl_cs > 1 or not (_unwinds or _has_unwound):
                _end_by_ctrl_c()


def _note(number: int, *_) -> None:
    """Records a signal; in the main thread as well, where it is known before the next output."""
    global _received
    _received = signal.Signals(number).name


def _raise_if_it_unwinds(*_) -> None:
    """Handles Ctrl-C in the main thread."""
    global _has_unwound
    if _has_unwound:
        return
    if not _unwinds:
        _end_by_ctrl_c()
    _has_unwound = True
    raise KeyboardInterrupt


def _end_if_ctrl_c_was_lost(unraisable) -> None:
    """Exits if KeyboardInterrupt was raised where Python can only print and ignore it."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        _end_by_ctrl_c()
    sys.__unraisablehook__(unraisable)


def report_interruption() -> None:
    """Prints once, from any thread, that Ctrl-C ends the command."""
    if _interruption_is_reported.acquire(blocking=False):  # Never released.
        _write_to_stderr(f"interrupted{_when_interrupted}")


def _end_by_ctrl_c() -> None:
    if _final_status is None:
        report_interruption()
        _remove_unfinished()
    os._exit(INTERRUPTED if _final_status is None else _final_status)


def _write_to_stderr(sentence: str) -> None:
    """Bypasses Python's buffers, whose locks the main thread may hold."""
    with suppress(OSError):
        os.write(2, f"{sentence}\n".encode())


def _remove_unfinished() -> None:
    for path in list(_unfinished):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
