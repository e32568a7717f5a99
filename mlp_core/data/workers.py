"""Batches made by worker processes, in memory shared with the caller.

Python's global lock lets few threads decode images at once; each process has its own lock. The rows
of each batch are divided among all workers, so that memory holds only a few batches, regardless of
the number of workers. The shared memory has no name in the file system: it is freed when the
processes end, even if killed. (Grain's `mp_prefetch` buffers four elements per worker, leaks named
memory when one is killed, and checks for dead workers once a second.)
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
from mlp_core.process.subprocess import begin_as_child

Batch = dict[str, np.ndarray]
MakeRows = Callable[[int, slice], tuple[Batch, Any]]

PATIENCE = 5  # Seconds to wait for a process's exit code.
SLOTS = 3  # Batches in progress or waiting.


class DeafProcess(SpawnProcess):
    """A process that blocks signals, see `ctrl_c_waits`, so that only SIGKILL ends it.

    When a worker dies, its pool terminates the others and joins them; from Python 3.12 on this also
    blocks other users of the pool.
    """

    def terminate(self) -> None:
        """Kills the process."""
        self.kill()


class DeafContext(SpawnContext):
    """Spawns `DeafProcess`es: a fork would copy the locks of threads."""

    Process = DeafProcess


SPAWN = DeafContext()


def available_cores() -> int:
    """Returns the number of cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def batches_of_workers(
    make_rows: MakeRows, like: Batch, num_rows: int, first: int, last: int, num_workers: int
) -> Generator[tuple[Batch, list[Any]]]:
    """Yields batches `first` to `last` - 1 in order, with `make_rows`' second results.

    Close the generator to end the workers. They also end with the caller's process.

    Args:
      make_rows: maps a batch's number and a slice of its rows to these rows and any picklable
        object; must be picklable. Workers share its arrays.
      like: arrays with the features, types and shapes of a batch, with any number of rows.
      num_rows: rows of a batch.
      first: number of the first batch.
      last: number of the last batch plus 1.
      num_workers: number of processes.

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
        with ctrl_c_waits():  # The pool starts its workers here.
            waiting = deque(start(number) for number in range(first, min(last, first + SLOTS)))
            workers = set(multiprocessing.active_children()) - others
        for number in range(first, last):
            said = [part.result() for part in waiting.popleft()]
            # A copy, since a device may alias the caller's array.
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
    """Arrays in memory shared with spawned processes."""

    memory: Mapping[str, ctypes.Array]
    layout: Mapping[str, tuple[tuple[int, ...], np.dtype]]  # Shape and type.

    @classmethod
    def new(cls, like: Batch, num_rows: int) -> "SharedBatch":
        """Allocates arrays with the features of `like` and `num_rows` rows."""
        layout = {name: ((num_rows, *rows.shape[1:]), rows.dtype) for name, rows in like.items()}
        memory = {
            name: SPAWN.RawArray(ctypes.c_byte, math.prod(shape) * dtype.itemsize)
            for name, (shape, dtype) in layout.items()
        }
        return cls(memory, layout)

    def arrays(self) -> Batch:
        """Returns views of the memory."""
        return {
            name: np.frombuffer(self.memory[name], dtype).reshape(shape)
            for name, (shape, dtype) in self.layout.items()
        }


@contextmanager
def ctrl_c_waits() -> Iterator[None]:
    """Defers Ctrl-C to the end; processes started inside block SIGINT, SIGTERM and SIGHUP.

    Otherwise each process, even one that is still starting, would print a traceback on Ctrl-C.
    SIGTERM may be sent to all processes of a run, as is SIGHUP when a terminal is closed, and the
    run needs its workers until it has saved a checkpoint. For use in the main thread only.
    """
    came = []
    # If another thread receives the signal, Python still calls this handler.
    handler = signal.signal(signal.SIGINT, lambda *_: came.append(True))
    blocked = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)  # Inherited.
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
        if came and callable(handler):
            handler(signal.SIGINT, None)  # Raising the signal again would count as a second Ctrl-C.


def end_pool(pool: ProcessPoolExecutor, workers: set[multiprocessing.Process]) -> None:
    """Ends a pool whose workers block SIGTERM after they finish their current tasks.

    If one was killed, kills the others, too: it may have held a lock that they wait for.
    """
    pool.shutdown(wait=False, cancel_futures=True)
    while any(worker.is_alive() for worker in workers):
        if any(worker.exitcode for worker in workers):
            for worker in workers:
                worker.kill()
        time.sleep(0.01)


def _program(make_rows: MakeRows) -> list[ctypes.Array]:
    """Pickles `make_rows`, followed by its arrays, which workers use in place."""
    arrays: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(make_rows, protocol=5, buffer_callback=arrays.append)
    return [_shared(memoryview(pickled)), *(_shared(array.raw()) for array in arrays)]


def _shared(content: memoryview) -> ctypes.Array:
    memory = SPAWN.RawArray(ctypes.c_byte, content.nbytes)
    memoryview(memory).cast("B")[:] = content
    return memory


def _set_up(program: list[ctypes.Array], slots: list[SharedBatch]) -> None:
    """Initialises a worker."""
    global _make_rows, _batches
    begin_as_child()
    jax.config.update("jax_platforms", "cpu")  # Accelerators belong to the training process.
    # Unpickled on first use: an error here would end the worker without a report.
    _make_rows = functools.cache(lambda: pickle.loads(program[0], buffers=program[1:]))
    _batches = [slot.arrays() for slot in slots]


def _fill(number: int, part: slice) -> Any:
    """Makes some rows of a batch, in a worker."""
    rows, said = _make_rows()(number, part)
    for name, values in rows.items():
        _batches[number % SLOTS][name][part] = values
    return said


def _how_one_ended(workers: set[multiprocessing.Process]) -> str:
    """Describes how the first worker to end has ended."""
    deadline, codes = time.monotonic() + PATIENCE, []
    while not codes and time.monotonic() < deadline:  # A thread of the pool may poll, too.
        codes = [worker.exitcode for worker in workers if worker.exitcode]
        time.sleep(0.01)
    code = codes[0] if codes else -signal.SIGKILL
    how = f"ended with status {code}" if code > 0 else f"was ended by {signal.Signals(-code).name}"
    hint = " (memory may have run out)" if code == -signal.SIGKILL else ""
    return (
        f"config.data.num_workers: a worker process that reads data {how}{hint}; the same command, "
        "with as many workers or fewer, goes on from the last checkpoint."
    )
