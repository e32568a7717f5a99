import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from mlp_core.distributed.mesh import make_mesh, replicated
from mlp_core.planning.hlo import parse_program, program_cost
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


# Three products of 100 cycles. 400 bytes are sent, of which a link sends 2 in a cycle.
SCHEDULE = """HloModule schedule, is_scheduled=true

ENTRY %main (x: f32[50]) -> f32[50] {
  %x = f32[50]{0} parameter(0)
  %before = f32[50]{0} copy(%x), backend_config={"estimated_cycles":"100"}
  COLLECTIVE
  %between = f32[50]{0} copy(%x), backend_config={"estimated_cycles":"100"}
  %also = f32[50]{0} copy(%x), backend_config={"estimated_cycles":"100"}
  DONE
  ROOT %after = f32[50]{0} copy(%sum), backend_config={"estimated_cycles":"100"}
}
"""
SYNCHRONOUS = "%sum = f32[50]{0} all-reduce(%before), to_apply=%add"
STARTED = "%started = f32[50]{0} all-reduce-start(%before), to_apply=%add"
DONE = "%sum = f32[50]{0} all-reduce-done(%started)"


def waiting(collective, done="", bytes_per_cycle=2):
    text = SCHEDULE.replace("COLLECTIVE", collective).replace("DONE", done)
    cost = program_cost(parse_program(text), bytes_per_cycle)
    assert cost.total_cycles == 400 and cost.bytes_sent == {"all-reduce": 400}
    return cost.waiting_cycles


def test_a_synchronous_collective_is_waited_for():
    assert waiting(SYNCHRONOUS) == 200
    assert waiting(SYNCHRONOUS, bytes_per_cycle=4) == 100


def test_of_an_asynchronous_collective_what_the_work_until_its_end_does_not_hide():
    assert waiting(STARTED, DONE) == 0
    assert waiting(STARTED, DONE, bytes_per_cycle=1) == 400 - 200


def test_collectives_share_the_links():
    second = "%other = f32[50]{0} all-reduce-start(%before), to_apply=%add"
    text = SCHEDULE.replace("COLLECTIVE", f"{second}\n  {STARTED}").replace("DONE", DONE)
    assert program_cost(parse_program(text), 2).waiting_cycles == 2 * 200 - 200


def test_a_copy_does_not_wait_for_the_links():
    copies = "%copying = f32[50]{0} copy-start(%x)\n  %copied = f32[50]{0} copy-done(%copying)"
    text = SCHEDULE.replace("COLLECTIVE", f"{STARTED}\n  {copies}").replace("DONE", DONE)
    assert program_cost(parse_program(text), 2).waiting_cycles == 0


def test_waiting_in_a_loop_counts_as_often_as_it_goes_round():
    body = SCHEDULE.replace("COLLECTIVE", SYNCHRONOUS).replace("DONE", "")
    text = (
        body.replace("ENTRY %main", "%body")
        + """
%condition (c: f32[50]) -> pred[] {
  %c = f32[50]{0} parameter(0)
  ROOT %go = pred[] constant(true)
}

ENTRY %main (y: f32[50]) -> f32[50] {
  %y = f32[50]{0} parameter(0)
  ROOT %loop = f32[50]{0} while(%y), condition=%condition, body=%body, backend_config={TRIPS}
}
""".replace("TRIPS", '"known_trip_count":{"n":"7"}')
    )
    cost = program_cost(parse_program(text), 2)
    assert cost.waiting_cycles == 7 * 200 and cost.bytes_sent == {"all-reduce": 7 * 400}


def test_sending_takes_no_time_where_the_links_are_not_known():
    assert cost_of(TPU_LOOP).waiting_cycles == 0
    assert program_cost(parse_program(TPU_LOOP), 8).waiting_cycles == 2 * 512 * 512 * 4 / 8
