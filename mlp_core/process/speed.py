"""What makes the process faster: freed memory kept, rare garbage collection, compiled programs
kept from run to run, and options of the compiler."""

import atexit
import ctypes
import functools
import gc
import platform
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import jax
from jax.sharding import Mesh

from mlp_core.process.console import print_error
from mlp_core.process.user_paths import cache_dir

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
# JAX warns so of each program.
JAX_WARNING = re.compile(
    r"Error (?:reading|writing) persistent compilation cache entry for '.*?': \w+: (.+)"
)
# Keeps barriers until operations are fused; see `platform_forms.materialized`.
_OF_CPUS = {"xla_disable_hlo_passes": "cse_barrier_expander"}
# YNNPACK, to which XLA in JAX 0.10 to 0.12 leaves matrix products on CPUs, takes 1.2 to 1.3 times
# as long on Intel's for those of these models as the library that XLA had before, and on AMD's
# somewhat less; see benchmarks/README.md.
_OF_INTEL = {"xla_cpu_experimental_ynn_fusion_type": ""}
_CPU_INFO = Path("/proc/cpuinfo")  # Of Linux; other systems have XLA's defaults.


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




def enable_compilation_cache() -> None:
    """Keeps compiled programs in the cache directory, unless JAX is configured for another one.

    A directory that cannot be read or written, as on a full disk, costs no more than one note.
    """
    if jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", str(cache_dir() / "programs"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    show_others, noted = warnings.showwarning, []

    def show(message, *args, **kwargs) -> None:
        found = JAX_WARNING.match(str(message))
        if not found:
            show_others(message, *args, **kwargs)
        elif not noted:
            noted.append(found)
            print_error(
                f"Note: {jax.config.jax_compilation_cache_dir} cannot hold compiled programs "
                f"({found[1]}); they are compiled again in each run."
            )

    warnings.showwarning = show




def compiler_options(mesh: Mesh) -> Mapping[str, str]:
    """What `jax.jit` takes as `compiler_options` for the devices of `mesh`; may be nothing."""
    if mesh.devices.flat[0].platform != "cpu":
        return {}
    options = _OF_CPUS | (_OF_INTEL if _is_intel() else {})
    return {name: value for name, value in options.items() if _is_known(name, value)}


def _is_intel() -> bool:
    return _CPU_INFO.is_file() and "GenuineIntel" in _CPU_INFO.read_text()


@functools.cache
def _is_known(option: str, value: str) -> bool:
    """Whether XLA compiles a barrier under an option."""
    options = {option: value}
    try:
        with jax.default_device(jax.local_devices(backend="cpu")[0]):
            jax.jit(jax.lax.optimization_barrier, compiler_options=options).lower(0).compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True
