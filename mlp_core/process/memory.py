"""Memory of the process: freed blocks are kept, and garbage is collected seldom."""

import atexit
import ctypes
import gc
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -3, -4, -8
LARGEST = 2**31 - 1  # Bytes that thresholds can be.
NEVER = -1
MEMORY_INFO, MEMORY_LIMIT, MEMORY_USED = (
    Path("/proc/meminfo"),
    Path("/sys/fs/cgroup/memory.max"),  # These two of a container.
    Path("/sys/fs/cgroup/memory.current"),
)
OBJECTS = 50_000  # Made and not given back since the last look; Python's own: 700 to 2,000.


def keep_freed_memory() -> None:
    """Lets the process keep and reuse freed memory; does nothing without glibc.

    XLA on CPU allocates its temporaries anew for each step. By default glibc fetches such large
    blocks from the system and returns them at once, so that every step pays for fresh pages:
    a quarter or more of the time of a small Mixer on two cores (benchmarks/README.md). One arena
    for all threads, since the others cannot hold blocks above 64 MiB. Peak memory may double.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        if libc.mallopt(M_MMAP_THRESHOLD, LARGEST):  # Older versions refuse; all stays as it is.
            libc.mallopt(M_TRIM_THRESHOLD, LARGEST)
            libc.mallopt(M_ARENA_MAX, 1)


def keep_freed_blocks(num_bytes: int) -> None:
    """The same for blocks of up to `num_bytes`, if memory for two of them is free.

    Beyond the largest threshold there is none at all, so that this is asked for by whoever knows
    how large the blocks are.
    """
    if num_bytes > LARGEST and platform.libc_ver()[0] == "glibc" and 2 * num_bytes < _free_memory():
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, NEVER)


def _free_memory() -> int:
    """Bytes that this machine, or container, has left; 0 where that is not told."""
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
    """Looks for garbage seldom from now on, and not again when the process ends.

    The libraries make some 300,000 objects as they are imported, nearly all of which stay; to look
    through them again and again, and once more at the end, is a quarter of the time of a short
    command.
    """
    gc.set_threshold(OBJECTS)
    atexit.register(gc.freeze)


@contextmanager
def collection_paused() -> Iterator[None]:
    """Postpones garbage collection, which scans the objects of all libraries each time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
