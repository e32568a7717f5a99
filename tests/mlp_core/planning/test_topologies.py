import importlib.util
import json
import os
import subprocess
import sys

import jax
import pytest

from mlp_core.errors import UserError
from mlp_core.planning.chips import CHIPS, check_topology, open_topology
from tests.conftest import ROOT

needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed"
)

# One product of 8,192 x 8,192 on each device of a topology: the compiler's cycles, and its words
# where memory is short.
MEASURE = """
import json, sys
import jax, jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
from mlp_core.distributed.mesh import make_mesh, replicated, batch_sharding
from mlp_core.planning.hlo import program_cost
from mlp_core.planning.hlo import parse_program
from mlp_core.planning.chips import open_topology

jax.config.update("jax_enable_compilation_cache", False)
for name in sys.argv[1:]:
    devices, chip = open_topology(name)
    mesh = make_mesh(devices=devices)
    rows = jax.ShapeDtypeStruct(
        (8192 * mesh.size, 8192), jnp.bfloat16, sharding=batch_sharding(mesh)
    )
    square = jax.ShapeDtypeStruct((8192, 8192), jnp.bfloat16, sharding=replicated(mesh))
    text = jax.jit(jnp.matmul).lower(rows, square).compile().as_text()
    cycles = program_cost(parse_program(text)).total_cycles
    huge = jax.ShapeDtypeStruct((2**35 * mesh.size,), jnp.float32, sharding=batch_sharding(mesh))
    try:
        jax.jit(lambda x: x + 1).lower(huge).compile()
    except jax.errors.JaxRuntimeError as error:
        message = str(error)
    print(json.dumps([chip.generation, devices[0].device_kind, cycles, message]))
"""
SMALLEST = {"v4": "v4:2x2x1", "v5p": "v5p:2x2x1", "tpu7x": "tpu7x:2x2x1"}


LONG = f"v5e:{'9' * 5000}x1"  # Python reads no such number.


@pytest.mark.parametrize("name", ["v9:2x2", "v3", "v3:4", "v3:4x4x4x4", "v3:axb", "tpu", "", LONG])
def test_an_unknown_topology_is_answered_with_those_there_are(name):
    with pytest.raises(UserError, match=f"--topology={name}: .*v2, v3, .*tpu7x.* cpu or gpu"):
        check_topology(name)


@pytest.mark.parametrize(
    "name, told",
    [
        ("v3:0x4", "1 to 65,536 chips"),
        ("v3:4096x4096", "1 to 65,536 chips"),
        ("v5e:2x2x2", "chips of v5e lie along two axes"),
    ],
)
def test_a_topology_has_a_sensible_number_of_chips_and_axes(name, told):
    with pytest.raises(UserError, match=told):
        check_topology(name)


def test_without_its_compiler_a_tpu_is_refused_with_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "libtpu", None)
    with pytest.raises(UserError, match=r'libtpu, is not installed; pip install -e "\.\[tpu\]"'):
        open_topology("v3:4x4")


def test_devices_of_this_machine_are_those_that_are_there():
    assert open_topology("cpu") == (jax.devices(), None)
    with pytest.raises(UserError, match="--topology=gpu: there is no such device here"):
        open_topology("gpu")


@pytest.mark.slow
@needs_libtpu
def test_what_is_written_down_of_each_generation_is_what_its_compiler_says():
    names = [SMALLEST.get(chip.generation, f"{chip.generation}:2x2") for chip in CHIPS]
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, *names],
        env={
            "PYTHONPATH": str(ROOT),
            "JAX_PLATFORMS": "cpu",
            "PATH": "/usr/bin:/bin",
            "HOME": os.environ["HOME"],
        },
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("[")]
    assert len(lines) == len(CHIPS)
    for chip, (generation, kind, cycles, message) in zip(CHIPS, lines, strict=True):
        assert (generation, kind) == (chip.generation, chip.device_kind)
        assert f"available HBM ({chip.hbm_gib:.2f}G)" in message
        share_of_peak = 2 * 8192**3 / chip.peak_flops / (cycles / chip.clock)
        assert 0.65 < share_of_peak < 1.0, (generation, share_of_peak)


@pytest.mark.slow
@needs_libtpu
def test_a_layout_that_no_tpu_has_is_refused():
    with pytest.raises(UserError, match="--topology=v3:3x3: libtpu refuses it .*not divisible"):
        open_topology("v3:3x3")
