"""Process memory: keeps freed blocks and collects garbage rarely."""

import atexit
import ctypes
import gc
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# From glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -3, -4, -8
LARGEST = 2**31 - 1  # Bytes; the maximum of thresholds.
NEVER = -1
MEMORY_INFO, MEMORY_LIMIT, MEMORY_USED = (
    Path("/proc/meminfo"),
    Path("/sys/fs/cgroup/memory.max"),  # These two apply to a container.
    Path("/sys/fs/cgroup/memory.current"),
)
OBJECTS = 50_000  # Net allocations between collections; Python's default is 700 to 2,000.


def keep_freed_memory() -> None:
    """Lets the process keep and reuse freed memory; does nothing without glibc.

    XLA on CPU allocates its temporaries in each step. By default glibc maps such large blocks and
    unmaps them at once, so every step pays for fresh pages: a quarter or more of the time of a
    small Mixer on two cores (benchmarks/README.md). All threads share one arena, since the
    others cannot hold blocks above 64 MiB. Peak memory may double.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        if libc.mallopt(M_MMAP_THRESHOLD, LARGEST):  # Older versions reject this value.
            libc.mallopt(M_TRIM_THRESHOLD, LARGEST)
            libc.mallopt(M_ARENA_MAX, 1)


def keep_freed_blocks(num_bytes: int) -> None:
    """Keeps freed blocks of up to `num_bytes` too, if memory for two of them is free.

    Blocks above the largest threshold are kept only with mmap switched off, so this is up to
    callers that know the block size.
    """
    if num_bytes > LARGEST and platform.libc_ver()[0] == "glibc" and 2 * num_bytes < _free_memory():
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, NEVER)


def _free_memory() -> int:
    """Returns the free bytes of this machine or container; 0 if unknown."""
    try:
        lines = dict(line.split(":") for line in MEMORY_INFO.read_text().splitlines())
        free = 1024 * int(lines["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        return 0
    try:
        return min(free, int(MEMORY_LIMIT.read_text()) - int(MEMORY_USED.read_text()))
    except (OSError, ValueError):  # No container, or no limit.
        return free


def collect_seldom() -> None:
    """Makes garbage collection rare and disables it at exit.

    Importing the libraries creates some 300,000 objects, most of them permanent; scanning them
    repeatedly, and again at exit, takes a quarter of the time of a short command.
    """
    gc.set_threshold(OBJECTS)
    atexit.register(gc.freeze)


@contextmanager
def collection_paused() -> Iterator[None]:
    """Pauses garbage collection, which scans the objects of all libraries each time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
