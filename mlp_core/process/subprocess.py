"""Runs a function in a separate process, so that a crash does not end the caller."""

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection
from typing import TypeVar

from mlp_core.errors import TRY_AGAIN, Preempted, UserError
from mlp_core.process import preemption
from mlp_core.process.compilation import enable_compilation_cache
from mlp_core.process.console import drop_unwritten, prepare_streams, print_error, quiet_libraries
from mlp_core.process.memory import collect_seldom, keep_freed_memory

T = TypeVar("T")

PATIENCE = 120  # Seconds for a process to save and exit when asked to.
KILLED_EARLY = (-signal.SIGTERM, -signal.SIGHUP)
# On Linux, processes are forked from a server that has imported their modules and opens no device.
# Elsewhere, system libraries may fail in a forked process.
METHOD = "forkserver" if sys.platform == "linux" else "spawn"
DONE, FAILED, PREEMPTED = "done", "failed", "preempted"  # Outcomes of a function.


def import_once(modules: Iterable[str]) -> None:
    """Imports modules once for all processes; no effect after the first process starts."""
    if METHOD == "forkserver":
        multiprocessing.set_forkserver_preload(list(modules))


def run_in_own_process(function: Callable[..., T], *args) -> T:
    """Calls `function(*args)` in a new process and returns its result.

    The process ends with the caller; Ctrl-C reaches only the caller, which then ends the process.
    SIGTERM and SIGHUP are forwarded to it. It releases its devices when it ends. `function` must be
    defined at the top level of a module.

    Raises:
        UserError: the function raised an error, or the process ended without a result.
        Preempted: SIGTERM or SIGHUP ended it.
    """
    context = multiprocessing.get_context(METHOD)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(sender, function, args))
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Inherited by the process.
    try:
        process.start()
    finally:
        signal.signal(signal.SIGINT, handler)
    sender.close()
    asked = threading.Event()

    def ask() -> None:
        asked.set()
        process.terminate()  # The process saves before it answers.

    try:
        with preemption.instead(ask):
            how, answer = receiver.recv()
            process.join(PATIENCE)
    except EOFError:
        process.join(PATIENCE)
        _end(process)
        # SIGTERM kills the process in its first second, before it listens.
        if asked.is_set() or process.exitcode in (TRY_AGAIN, *KILLED_EARLY):
            raise Preempted("the same command goes on") from None
        raise UserError(_how_it_ended(process.exitcode)) from None
    finally:
        _end(process)
    if how == PREEMPTED:
        raise Preempted(answer)
    if asked.is_set():  # The signal came too late for the process, but must not be lost.
        raise Preempted("the same command goes on")
    if how == FAILED:
        raise UserError(answer)
    return answer


def begin_as_child() -> None:
    """Sets up a process that works for its parent, with which it ends."""
    end_with_parent()
    quiet_libraries()
    keep_freed_memory()
    collect_seldom()


def end_with_parent() -> None:
    """Ends this process as soon as its parent ends for any reason."""

    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)  # Training can resume after an exit at any time.

    threading.Thread(target=wait, daemon=True).start()


def _work(sender: Connection, function: Callable, args: tuple) -> None:
    """Entry point of the process."""
    try:
        with preemption.instead(preemption.end_silently):  # The caller reports it.
            prepare_streams()
            preemption.listen()
            begin_as_child()
            enable_compilation_cache()
            answer = DONE, function(*args)
    except Preempted as end:
        answer = PREEMPTED, str(end)
    except UserError as error:
        answer = FAILED, str(error)
    except BrokenPipeError:  # The caller gets the same error.
        answer = FAILED, "the output is not read any more."
    except Exception as error:  # For example out of device memory, or a bug.
        print_error(traceback.format_exc())
        first_line = (str(error).splitlines() or [""])[0]
        answer = FAILED, f"{type(error).__name__}: {first_line}"
    drop_unwritten()
    sender.send(answer)


def _end(process: multiprocessing.Process) -> None:
    """Asks a running process to exit and kills it after a timeout or a second Ctrl-C."""
    try:
        if process.is_alive():
            process.terminate()
            process.join(PATIENCE)
    finally:
        process.kill()
        process.join(PATIENCE)


def _how_it_ended(exitcode: int) -> str:
    if exitcode >= 0:
        return f"the process ended with status {exitcode} before it was done."
    hint = " (memory may have run out)" if exitcode == -signal.SIGKILL else ""
    return f"the process was ended by {signal.Signals(-exitcode).name}{hint}."
