"""Options of XLA under which the programs of a run are faster; results differ by rounding only."""

import functools
from collections.abc import Mapping

import jax
from jax.sharding import Mesh

# YNNPACK, to which XLA in JAX 0.10 to 0.12 leaves matrix products on CPUs, takes 1.2 to 1.3 times
# as long for those of these models as the library that XLA had before; see benchmarks/README.md.
_OF_CPU = {"xla_cpu_experimental_ynn_fusion_type": ""}


def compiler_options(mesh: Mesh) -> Mapping[str, str]:
    """What `jax.jit` takes as `compiler_options` for the devices of `mesh`; may be nothing."""
    is_cpu = mesh.devices.flat[0].platform == "cpu"
    return _OF_CPU if is_cpu and _xla_knows_those_of_cpu() else {}


@functools.cache
def _xla_knows_those_of_cpu() -> bool:
    try:
        with jax.default_device(jax.local_devices(backend="cpu")[0]):
            jax.jit(lambda: 0, compiler_options=_OF_CPU).lower().compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True
