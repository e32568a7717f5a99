import time

import pytest

from mlp_vision.tools.throughput import TURNS, WARM_UP_CALLS, timed_turns

SECONDS = 0.05


class Device:
    """Takes work at once and does it piece by piece, `SECONDS` for each."""

    def __init__(self):
        self.begun, self._is_free_at = 0, 0.0

    def __call__(self):
        self.begun += 1
        self._is_free_at = max(self._is_free_at, time.perf_counter()) + SECONDS
        return Result(self._is_free_at)


class Result:
    """As JAX waits for an array."""

    def __init__(self, is_there_at):
        self._is_there_at = is_there_at

    def block_until_ready(self):
        time.sleep(max(self._is_there_at - time.perf_counter(), 0))
        return self


def test_the_seconds_are_those_of_one_call_until_its_work_is_done():
    device = Device()
    turns = timed_turns(device, turn_seconds=4.5 * SECONDS)
    assert 2 <= turns.calls <= 4 and len(turns.seconds) == TURNS
    assert device.begun == WARM_UP_CALLS + 1 + TURNS * turns.calls
    assert min(turns.seconds) == pytest.approx(SECONDS, rel=0.3)
    assert turns.median == sorted(turns.seconds)[TURNS // 2]


@pytest.mark.parametrize("turn_seconds", [SECONDS / 10, SECONDS])
def test_a_call_longer_than_a_turn_is_a_turn(turn_seconds):
    assert timed_turns(Device(), turn_seconds).calls == 1
