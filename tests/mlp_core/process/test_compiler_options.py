"""Options of the compiler, where it has them."""

import types

import jax
import numpy as np
import pytest

from mlp_core.distributed.mesh import make_mesh
from mlp_core.process import compilation as module
from mlp_core.process.compilation import compiler_options


@pytest.fixture
def cpu_of(tmp_path, monkeypatch):
    """Has this machine have a CPU of a vendor."""

    def pretend(vendor):
        (tmp_path / "cpuinfo").write_text(f"processor : 0\nvendor_id : {vendor}\n")
        monkeypatch.setattr(module, "_CPU_INFO", tmp_path / "cpuinfo")

    return pretend


def test_programs_for_cpus_of_intel_have_options_that_their_compiler_takes(cpu_of):
    cpu_of("GenuineIntel")
    options = compiler_options(make_mesh())
    assert options.keys() == {"xla_disable_hlo_passes", "xla_cpu_experimental_ynn_fusion_type"}
    assert jax.jit(lambda x: x + 1, compiler_options=options)(1) == 2


def test_other_devices_and_a_compiler_that_does_not_know_options_go_without(cpu_of, monkeypatch):
    cpu_of("AuthenticAMD")
    assert compiler_options(make_mesh()).keys() == {"xla_disable_hlo_passes"}
    cpu_of("GenuineIntel")
    tpus = types.SimpleNamespace(devices=np.array([types.SimpleNamespace(platform="tpu")]))
    assert compiler_options(tpus) == {}
    monkeypatch.setattr(module, "_OF_INTEL", {"xla_cpu_no_such_option": ""})
    assert compiler_options(make_mesh()).keys() == {"xla_disable_hlo_passes"}
