import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from mlp_core.mesh import make_mesh, replicated
from mlp_core.planning.hlo_cost import program_cost
from mlp_core.planning.hlo_text import parse_program
from tests.conftest import ROOT

# Compiled for v3:2x2: the gradient of a layer of 512 x 512, added up over five micro-batches, then
# over eight cores.
TPU_LOOP = (ROOT / "tests" / "data" / "v3_loop.hlo").read_text()
IN_THE_LOOP = "jit(step)/while/body/closed_call/transpose(jvp(Layer))/dot_general"
BEFORE_IT = "jit(step)/while/body/closed_call/jvp(Layer)/convert_element_type"


def cost_of(text):
    return program_cost(parse_program(text))


def compiled(function, *arguments):
    return jax.jit(function).lower(*arguments).compile().as_text()


def test_cycles_in_a_loop_count_as_often_as_it_goes_round():
    cost = cost_of(TPU_LOOP)
    assert cost.cycles == {IN_THE_LOOP: 5 * 13_576, BEFORE_IT: 6_604}
    assert cost.uncounted_loops == 0


@pytest.mark.parametrize(
    ("old", "new", "rounds"),
    [
        ("s32[]{:T(256)} constant(5)", "s32[]{:T(256)} constant(7)", 7),
        ("30.clone = s32[]{:T(256)} constant(0)", "30.clone = s32[]{:T(256)} constant(3)", 2),
        ("sunk = s32[]{:T(256)} constant(1)", "sunk = s32[]{:T(256)} constant(2)", 3),
    ],
)  # fmt: skip
def test_rounds_follow_from_start_step_and_end(old, new, rounds):
    assert TPU_LOOP.count(old) == 1
    assert cost_of(TPU_LOOP.replace(old, new)).cycles[IN_THE_LOOP] == rounds * 13_576


def test_a_loop_whose_rounds_are_not_known_counts_once_and_is_told():
    cost = cost_of(TPU_LOOP.replace("direction=LT", "direction=NE"))
    assert cost.cycles[IN_THE_LOOP] == 13_576
    assert cost.uncounted_loops == 1


def test_an_all_reduce_sends_parts_and_then_sums():
    assert cost_of(TPU_LOOP).bytes_sent == {"all-reduce": 2 * 512 * 512 * 4}


def test_text_without_a_program_is_refused():
    with pytest.raises(ValueError, match="no entry"):
        parse_program("HloModule nothing\n")


def test_collectives_in_a_loop_that_was_compiled_here_count_as_often_as_it_goes_round():
    mesh = make_mesh()
    rows = jax.ShapeDtypeStruct(
        (6, 64, 32), jnp.float32, sharding=NamedSharding(mesh, PartitionSpec(None, "data"))
    )
    start = jax.ShapeDtypeStruct((32, 32), jnp.float32, sharding=replicated(mesh))

    def body(total, x):  # Each round needs the sum over all devices.
        return jnp.tanh(total @ (x.T @ x)), None

    cost = cost_of(compiled(lambda start, rows: jax.lax.scan(body, start, rows)[0], start, rows))
    assert cost.bytes_sent == {"all-reduce": 6 * 2 * 32 * 32 * 4}
    assert not cost.cycles and not cost.uncounted_loops


def test_gathered_and_scattered_bytes_are_those_of_the_whole_array():
    mesh = make_mesh()
    split = NamedSharding(mesh, PartitionSpec("data"))
    array = jax.ShapeDtypeStruct((64, 32), jnp.float32, sharding=split)
    gather = jax.jit(lambda x: x * 2, out_shardings=replicated(mesh))
    text = gather.lower(array).compile().as_text()
    assert cost_of(text).bytes_sent == {"all-gather": 64 * 32 * 4}


def test_of_branches_the_costliest_counts():
    text = """HloModule branches

%cheap (a: f32[8]) -> f32[8] {
  ROOT %a = f32[8]{0} parameter(0)
}

%dear (b: f32[8]) -> f32[8] {
  %b = f32[8]{0} parameter(0)
  ROOT %c = f32[8]{0} copy(%b), metadata={op_name="dear"}, backend_config={"estimated_cycles":"40"}
}

ENTRY %main (p: pred[], x: f32[8]) -> f32[8] {
  %p = pred[] parameter(0)
  %x = f32[8]{0} parameter(1)
  ROOT %y = f32[8]{0} conditional(%p, %x, %x), branch_computations={%cheap, %dear}
}
"""
    assert cost_of(text).cycles == {"dear": 40}
