"""Options of the compiler, where it has them."""

import types

import jax
import numpy as np

from mlp_core import compiler_options as module
from mlp_core.compiler_options import compiler_options
from mlp_core.mesh import make_mesh


def test_programs_for_cpus_have_options_that_their_compiler_takes():
    options = compiler_options(make_mesh())
    assert jax.jit(lambda x: x + 1, compiler_options=options)(1) == 2


def test_other_devices_and_a_compiler_that_does_not_know_them_have_none(monkeypatch):
    tpus = types.SimpleNamespace(devices=np.array([types.SimpleNamespace(platform="tpu")]))
    assert compiler_options(tpus) == {}
    monkeypatch.setattr(module, "_OF_CPU", {"xla_cpu_no_such_option": ""})
    module._xla_knows_those_of_cpu.cache_clear()
    try:
        assert compiler_options(make_mesh()) == {}
    finally:
        module._xla_knows_those_of_cpu.cache_clear()
