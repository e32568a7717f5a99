"""XLA compiler options and the persistent compilation cache."""

import functools
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import jax
from jax.sharding import Mesh

from mlp_core.process.console import print_error
from mlp_core.process.user_paths import cache_dir

# JAX emits this warning for each program.
JAX_WARNING = re.compile(
    r"Error (?:reading|writing) persistent compilation cache entry for '.*?': \w+: (.+)"
)
# Keeps barriers until after fusion; see `dense.materialized`.
_OF_CPUS = {"xla_disable_hlo_passes": "cse_barrier_expander"}
# XLA in JAX 0.10 to 0.12 uses YNNPACK for matrix products on CPUs. For these models it takes 1.2 to
# 1.3 times as long on Intel as XLA's previous library, and somewhat less on AMD; see
# benchmarks/README.md.
_OF_INTEL = {"xla_cpu_experimental_ynn_fusion_type": ""}
_CPU_INFO = Path("/proc/cpuinfo")  # Linux only; other systems keep XLA's defaults.


def enable_compilation_cache() -> None:
    """Caches compiled programs in the cache directory, unless JAX is configured for another one.

    If the directory cannot be read or written, as on a full disk, one note is printed.
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
    """Returns the `compiler_options` of `jax.jit` for the devices of `mesh`; may be empty."""
    if mesh.devices.flat[0].platform != "cpu":
        return {}
    options = _OF_CPUS | (_OF_INTEL if _is_intel() else {})
    return {name: value for name, value in options.items() if _is_known(name, value)}


def _is_intel() -> bool:
    return _CPU_INFO.is_file() and "GenuineIntel" in _CPU_INFO.read_text()


@functools.cache
def _is_known(option: str, value: str) -> bool:
    """Whether this XLA accepts an option, tested by compiling a barrier."""
    options = {option: value}
    try:
        with jax.default_device(jax.local_devices(backend="cpu")[0]):
            jax.jit(jax.lax.optimization_barrier, compiler_options=options).lower(0).compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True
