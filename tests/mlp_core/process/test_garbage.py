"""Garbage is looked for seldom, but is found; at the end of a process all is left as it lies."""

import gc
import subprocess
import sys

from mlp_core.process.memory import collection_paused
from tests.conftest import ROOT

PROGRAM = """
import atexit, gc

from mlp_core.process.memory import OBJECTS, collect_seldom

atexit.register(lambda: print("frozen", gc.get_freeze_count()))  # Runs after what follows it.
collect_seldom()
looks = []
gc.callbacks.append(lambda phase, _: looks.append(phase))
for _ in range(2 * OBJECTS + 1000):  # Some objects are given back meanwhile.
    cycle = []
    cycle.append(cycle)
print("left", sum(isinstance(each, list) and each[:1] == [each] for each in gc.get_objects()))
print("looks", looks.count("start"))
"""


def test_cycles_are_found_after_many_and_the_end_looks_at_nothing():
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True
    )
    told = {name: int(number) for name, number in map(str.split, run.stdout.splitlines())}
    assert 0 < told["left"] <= 50_000 and told["looks"] == 2
    assert told["frozen"] > 1000


def test_collection_is_paused_and_goes_on_as_it_was():
    with collection_paused():
        assert not gc.isenabled()
        with collection_paused():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
