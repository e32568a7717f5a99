"""A function in a process of its own, so that its end, however abrupt, is not the caller's."""

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection
from typing import TypeVar

from mlp_core.errors import Preempted, UserError
from mlp_core.process import preemption
from mlp_core.process.compilation import enable_compilation_cache
from mlp_core.process.console import drop_unwritten, prepare_streams, print_error, quiet_libraries
from mlp_core.process.memory import collect_seldom, keep_freed_memory

T = TypeVar("T")

PATIENCE = 120  # Seconds that a process has to save and end when it is asked to.
KILLED_EARLY = (-signal.SIGTERM, -signal.SIGHUP)
# On Linux, processes are forked from one that has imported what they need and opens no device.
# Elsewhere, system libraries may not work in a forked process.
METHOD = "forkserver" if sys.platform == "linux" else "spawn"
DONE, FAILED, PREEMPTED = "done", "failed", "preempted"  # How a function ends.


def import_once(modules: Iterable[str]) -> None:
    """Has modules imported once for all processes, unless a process was started before."""
    if METHOD == "forkserver":
        multiprocessing.set_forkserver_preload(list(modules))


def run_in_own_process(function: Callable[..., T], *args) -> T:
    """Calls `function(*args)` in a fresh process and returns what it returns.

    It ends with the caller; Ctrl-C reaches the caller only, which then ends it. SIGTERM and SIGHUP
    are passed on to it. Devices that a process opens are free again for the next one. `function` is
    one of a module's top level.

    Raises:
        UserError: the function raised an error, or the process ended without an answer.
        Preempted: SIGTERM or SIGHUP has ended it.
    """
    context = multiprocessing.get_context(METHOD)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(sender, function, args))
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Inherited.
    try:
        process.start()
    finally:
        signal.signal(signal.SIGINT, handler)
    sender.close()
    asked = threading.Event()

    def ask() -> None:
        asked.set()
        process.terminate()  # It saves, and answers then.

    try:
        with preemption.instead(ask):
            how, answer = receiver.recv()
            process.join(PATIENCE)
    except EOFError:
        process.join(PATIENCE)
        _end(process)
        # In its first second, before it listens, SIGTERM kills it.
        if asked.is_set() or process.exitcode in (preemption.STATUS, *KILLED_EARLY):
            raise Preempted("the same command goes on") from None
        raise UserError(_how_it_ended(process.exitcode)) from None
    finally:
        _end(process)
    if how == PREEMPTED:
        raise Preempted(answer)
    if asked.is_set():  # It came too late for the process, and must not be lost.
        raise Preempted("the same command goes on")
    if how == FAILED:
        raise UserError(answer)
    return answer


def end_with_parent() -> None:
    """Ends this process as soon as the one that started it has ended, however it ended."""

    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)  # Training survives an end at any moment.

    threading.Thread(target=wait, daemon=True).start()


def _work(sender: Connection, function: Callable, args: tuple) -> None:
    """What the process does."""
    try:
        with preemption.instead(preemption.end_silently):  # The caller tells it.
            prepare_streams()
            preemption.listen()
            quiet_libraries()
            end_with_parent()
            keep_freed_memory()
            collect_seldom()
            enable_compilation_cache()
            answer = DONE, function(*args)
    except Preempted as end:
        answer = PREEMPTED, str(end)
    except UserError as error:
        answer = FAILED, str(error)
    except BrokenPipeError:  # The caller meets the same.
        answer = FAILED, "the output is not read any more."
    except Exception as error:  # Out of device memory, say; or a fault of the program.
        print_error(traceback.format_exc())
        first_line = (str(error).splitlines() or [""])[0]
        answer = FAILED, f"{type(error).__name__}: {first_line}"
    drop_unwritten()
    sender.send(answer)


def _end(process: multiprocessing.Process) -> None:
    """Asks a process that still runs to end, and ends it after a while or at a second Ctrl-C."""
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
