"""How the C library treats memory that a program gives back."""

import ctypes
import platform
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
