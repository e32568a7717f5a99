"""Calls in a thread, with a limit of time."""

import threading

import pytest

from mlp_core.weights.download_parts import TimedCalls


def test_results_and_errors_are_those_of_the_call():
    with TimedCalls() as calls:
        calls.call_later(lambda: "dropped")
        calls.call_later(lambda: 1 / 0)
        assert [calls.call(lambda i=i: i, 10) for i in range(3)] == [0, 1, 2]
        with pytest.raises(ZeroDivisionError):
            calls.call(lambda: 1 / 0, 10)


def test_a_call_that_takes_too_long_is_given_up_and_its_thread_ends_with_it():
    release, before = threading.Event(), threading.active_count()
    with TimedCalls() as calls, pytest.raises(TimeoutError, match=r"no result after 0\.1 seconds"):
        calls.call(release.wait, 0.1)
    release.set()
    for _ in range(100):
        if threading.active_count() == before:
            break
        threading.Event().wait(0.05)
    assert threading.active_count() == before
