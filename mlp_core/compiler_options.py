"""Options of XLA under which the programs of a run are faster; results differ by rounding only."""

import functools
from collections.abc import Mapping
from pathlib import Path

import jax
from jax.sharding import Mesh

# YNNPACK, to which XLA in JAX 0.10 to 0.12 leaves matrix products on CPUs, takes 1.2 to 1.3 times
# as long on Intel's for those of these models as the library that XLA had before, and on AMD's
# somewhat less; see benchmarks/README.md.
_OF_INTEL = {"xla_cpu_experimental_ynn_fusion_type": ""}
_CPU_INFO = Path("/proc/cpuinfo")  # Of Linux; other systems have XLA's defaults.


def compiler_options(mesh: Mesh) -> Mapping[str, str]:
    """What `jax.jit` takes as `compiler_options` for the devices of `mesh`; may be nothing."""
    is_cpu = mesh.devices.flat[0].platform == "cpu"
    return _OF_INTEL if is_cpu and _is_intel() and _xla_knows_those_of_intel() else {}


def _is_intel() -> bool:
    return _CPU_INFO.is_file() and "GenuineIntel" in _CPU_INFO.read_text()


@functools.cache
def _xla_knows_those_of_intel() -> bool:
    try:
        with jax.default_device(jax.local_devices(backend="cpu")[0]):
            jax.jit(lambda: 0, compiler_options=_OF_INTEL).lower().compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True
