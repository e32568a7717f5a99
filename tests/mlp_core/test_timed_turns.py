import time

import jax
import jax.numpy as jnp
import pytest

from mlp_core.timed_turns import TURNS, WARM_UP_CALLS, timed_turns

SECONDS = 0.02


class Sleeper:
    """Work on the device that takes as long as is told, and counts how often it was begun."""

    def __init__(self, seconds):
        self.begun = 0

        def sleep(x):
            time.sleep(seconds)
            return x

        out = jax.ShapeDtypeStruct((), jnp.float32)
        self._step = jax.jit(lambda x: jax.pure_callback(sleep, out, x))

    def __call__(self):
        self.begun += 1
        return self._step(1.0)


def test_the_seconds_are_those_of_one_call_until_its_work_is_done():
    call = Sleeper(SECONDS)
    turns = timed_turns(call, turn_seconds=4.5 * SECONDS)
    assert 1 <= turns.calls <= 4 and len(turns.seconds) == TURNS
    assert call.begun == WARM_UP_CALLS + 1 + TURNS * turns.calls
    assert min(turns.seconds) >= SECONDS
    assert turns.median == sorted(turns.seconds)[TURNS // 2] < 5 * SECONDS


@pytest.mark.parametrize("turn_seconds", [SECONDS / 10, SECONDS])
def test_a_call_longer_than_a_turn_is_a_turn(turn_seconds):
    assert timed_turns(Sleeper(SECONDS), turn_seconds).calls == 1
