"""Calls that may take only so long, for libraries whose own limits start again at each byte."""

import queue
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class TimedCalls:
    """Makes calls one after the other in a thread, and gives up on one that takes too long.

    The thread of such a call ends with it, or with the process. What the call holds must be left
    alone until then: closing a stream waits for whoever reads it.
    """

    def __init__(self):
        """Starts the thread."""
        self._calls: queue.SimpleQueue = queue.SimpleQueue()
        self._results: queue.SimpleQueue = queue.SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()

    def __enter__(self) -> "TimedCalls":
        """Returns itself."""
        return self

    def __exit__(self, *error) -> None:
        """Ends the thread when its last call has ended."""
        self._calls.put(None)

    def call(self, function: Callable[[], T], seconds: float) -> T:
        """The result of `function`, or what it raises.

        Raises:
            TimeoutError: it has not ended after `seconds`; make no further calls then.
        """
        self._calls.put((function, self._results))
        try:
            result, error = self._results.get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError(f"no result after {seconds:g} seconds") from None
        if error is not None:
            raise error
        return result

    def call_later(self, function: Callable[[], object]) -> None:
        """Has `function` called after the others; what it returns or raises is dropped."""
        self._calls.put((function, queue.SimpleQueue()))

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            function, results = call
            try:
                results.put((function(), None))
            except BaseException as error:
                results.put((None, error))
