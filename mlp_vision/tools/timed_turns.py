"""How long a call takes on the devices, over several turns of many calls each."""

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax

WARM_UP_CALLS = 2
TURNS = 5
TURN_SECONDS = 0.5  # A turn has as many calls as fit, and one at least.


@dataclasses.dataclass(frozen=True)
class TimedTurns:
    """Seconds of one call in each turn."""

    seconds: tuple[float, ...]
    calls: int  # Of a turn.

    @property
    def median(self) -> float:
        """Over the turns."""
        return statistics.median(self.seconds)


def timed_turns(call: Callable[[], Any], turn_seconds: float = TURN_SECONDS) -> TimedTurns:
    """Times `call`, which starts work on the devices and returns arrays that it results in.

    Calls of a turn are queued one behind the other, as those of a run are; the last is waited for.
    """
    for _ in range(WARM_UP_CALLS):
        jax.block_until_ready(call())
    calls = max(int(turn_seconds / seconds_of(call, 1)), 1)
    return TimedTurns(tuple(seconds_of(call, calls) / calls for _ in range(TURNS)), calls)


def seconds_of(call: Callable[[], Any], calls: int) -> float:
    """Seconds of `calls` calls, queued one behind the other; the last is waited for."""
    started = time.perf_counter()
    for _ in range(calls):
        results = call()
    jax.block_until_ready(results)
    return time.perf_counter() - started
