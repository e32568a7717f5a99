"""Batches made by processes of their own, in memory that they share with the caller.

Python's lock lets few threads decode pictures at once; processes have a lock each. The rows of a
batch are shared out among all workers, so that what is held is a few batches, however many
workers there are. The memory has no name in the file system: it is gone with the processes,
however they end. (Grain's `mp_prefetch` keeps four elements for each worker, leaves named memory
behind when one is killed, and looks for dead workers once a second.)
"""

import ctypes
import dataclasses
import functools
import math
import multiprocessing
import os
import pickle
import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any

import jax
import numpy as np

from mlp_core.errors import UserError
from mlp_core.process.console import quiet_libraries
from mlp_core.process.memory import collect_seldom, keep_freed_memory
from mlp_core.process.subprocess import end_with_parent

Batch = dict[str, np.ndarray]
MakeRows = Callable[[int, slice], tuple[Batch, Any]]

PATIENCE = 5  # Seconds until it is known how a process ended.
SLOTS = 3  # Batches that are made at the same time or wait.


class DeafProcess(SpawnProcess):
    """A process that signals do not reach, see `ctrl_c_waits`, so that only SIGKILL ends it.

    When a worker has ended, its pool terminates the others and waits for them; from Python 3.12 on
    whoever uses the pool meanwhile waits, too.
    """

    def terminate(self) -> None:
        """Ends it."""
        self.kill()


class DeafContext(SpawnContext):
    """Starts such processes anew: a fork would copy the threads' locks."""

    Process = DeafProcess


SPAWN = DeafContext()


def available_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def batches_of_workers(
    make_rows: MakeRows, like: Batch, num_rows: int, first: int, last: int, num_workers: int
) -> Generator[tuple[Batch, list[Any]]]:
    """Batches `first` to `last` - 1, each with what `make_rows` had to say of its parts, in order.

    Close it to end the workers. They end, too, when the caller's process does.

    Args:
      make_rows: gives some rows of a batch, and anything that can be pickled, from the batch's
        number and the rows' place in it; can be pickled itself. Workers share its arrays.
      like: arrays with the features, types and shapes of a batch, whatever the number of rows.
      num_rows: how many a batch has.
      first: the first batch's number.
      last: the number after the last one's.
      num_workers: processes.

    Raises:
        UserError: a worker raised one, or ended without an answer.
    """
    program, slots = _program(make_rows), [SharedBatch.new(like, num_rows) for _ in range(SLOTS)]
    batches = [slot.arrays() for slot in slots]
    cuts = [num_rows * i // num_workers for i in range(num_workers + 1)]
    parts = [slice(*cut) for cut in zip(cuts, cuts[1:], strict=False) if cut[0] < cut[1]]
    others = set(multiprocessing.active_children())
    workers: set[multiprocessing.Process] = set()
    pool = ProcessPoolExecutor(len(parts), SPAWN, _set_up, (program, slots))

    def start(number: int) -> list[Future]:
        return [pool.submit(_fill, number, part) for part in parts]

    try:
        with ctrl_c_waits():  # Workers are started here.
            waiting = deque(start(number) for number in range(first, min(last, first + SLOTS)))
            workers = set(multiprocessing.active_children()) - others
        for number in range(first, last):
            said = [part.result() for part in waiting.popleft()]
            # A copy, since a device may go on to use the caller's array as its own.
            batch = {name: rows.copy() for name, rows in batches[number % SLOTS].items()}
            if number + SLOTS < last:
                waiting.append(start(number + SLOTS))
            yield batch, said
    except BrokenProcessPool:
        raise UserError(_how_one_ended(workers)) from None
    finally:
        end_pool(pool, workers)


@dataclasses.dataclass(frozen=True)
class SharedBatch:
    """Arrays in memory that spawned processes share."""

    memory: Mapping[str, ctypes.Array]
    layout: Mapping[str, tuple[tuple[int, ...], np.dtype]]  # Shape and type.

    @classmethod
    def new(cls, like: Batch, num_rows: int) -> "SharedBatch":
        """With the features of `like` and `num_rows` rows."""
        layout = {name: ((num_rows, *rows.shape[1:]), rows.dtype) for name, rows in like.items()}
        memory = {
            name: SPAWN.RawArray(ctypes.c_byte, math.prod(shape) * dtype.itemsize)
            for name, (shape, dtype) in layout.items()
        }
        return cls(memory, layout)

    def arrays(self) -> Batch:
        """Views of the memory."""
        return {
            name: np.frombuffer(self.memory[name], dtype).reshape(shape)
            for name, (shape, dtype) in self.layout.items()
        }


@contextmanager
def ctrl_c_waits() -> Iterator[None]:
    """Ctrl-C is heard at the end; processes started meanwhile are deaf to it, SIGTERM and SIGHUP.

    Each of them would print where it was interrupted, and so would one that is only half started.
    SIGTERM may be sent to all processes of a run, as SIGHUP is when a terminal is closed, and the
    run still needs them until it has saved. For the main thread.
    """
    came = []
    # Other threads, which may be given the signal, have Python call the handler all the same.
    handler = signal.signal(signal.SIGINT, lambda *_: came.append(True))
    blocked = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)  # Inherited.
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
        if came and callable(handler):
            handler(signal.SIGINT, None)  # Not raised again, which would count as a second one.


def end_pool(pool: ProcessPoolExecutor, workers: set[multiprocessing.Process]) -> None:
    """Ends a pool whose workers are deaf to SIGTERM, when they are done with what they are at.

    If one has been killed the others are, too: it may have held a lock that they wait for.
    """
    pool.shutdown(wait=False, cancel_futures=True)
    while any(worker.is_alive() for worker in workers):
        if any(worker.exitcode for worker in workers):
            for worker in workers:
                worker.kill()
        time.sleep(0.01)


def _program(make_rows: MakeRows) -> list[ctypes.Array]:
    """What workers do, pickled; then its arrays, which they use where they lie."""
    arrays: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(make_rows, protocol=5, buffer_callback=arrays.append)
    return [_shared(memoryview(pickled)), *(_shared(array.raw()) for array in arrays)]


def _shared(content: memoryview) -> ctypes.Array:
    memory = SPAWN.RawArray(ctypes.c_byte, content.nbytes)
    memoryview(memory).cast("B")[:] = content
    return memory


def _set_up(program: list[ctypes.Array], slots: list[SharedBatch]) -> None:
    """Runs first in a worker."""
    global _make_rows, _batches
    end_with_parent()
    quiet_libraries()
    keep_freed_memory()
    collect_seldom()
    jax.config.update("jax_platforms", "cpu")  # Accelerators belong to the training process.
    # Unpickled when first wanted: an error here would end the worker without an answer.
    _make_rows = functools.cache(lambda: pickle.loads(program[0], buffers=program[1:]))
    _batches = [slot.arrays() for slot in slots]


def _fill(number: int, part: slice) -> Any:
    """Makes a part of a batch, in a worker."""
    rows, said = _make_rows()(number, part)
    for name, values in rows.items():
        _batches[number % SLOTS][name][part] = values
    return said


def _how_one_ended(workers: set[multiprocessing.Process]) -> str:
    """What is to be said of the worker that has ended before the others."""
    deadline, codes = time.monotonic() + PATIENCE, []
    while not codes and time.monotonic() < deadline:  # A thread of the pool may look, too.
        codes = [worker.exitcode for worker in workers if worker.exitcode]
        time.sleep(0.01)
    code = codes[0] if codes else -signal.SIGKILL
    how = f"ended with status {code}" if code > 0 else f"was ended by {signal.Signals(-code).name}"
    hint = " (memory may have run out)" if code == -signal.SIGKILL else ""
    return (
        f"config.data.num_workers: a worker process that reads data {how}{hint}; the same command, "
        "with as many workers or fewer, goes on from the last checkpoint."
    )
