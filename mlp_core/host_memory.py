"""How the C library treats memory that a program gives back."""

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # glibc's malloc.h.
LARGEST = 2**31 - 1


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
