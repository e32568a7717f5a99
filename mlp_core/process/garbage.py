"""How often Python looks for objects that only refer to each other."""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager

OBJECTS = 50_000  # Made and not given back since the last look; Python's own: 700 to 2,000.


def collect_seldom() -> None:
    """Looks for garbage seldom from now on, and not again when the process ends.

    The libraries make some 300,000 objects as they are imported, nearly all of which stay; to look
    through them again and again, and once more at the end, is a quarter of the time of a short
    command.
    """
    gc.set_threshold(OBJECTS)
    atexit.register(gc.freeze)


@contextmanager
def collection_paused() -> Iterator[None]:
    """Postpones garbage collection, which scans the objects of all libraries each time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
