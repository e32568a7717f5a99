"""Worker processes give the batches that threads give, and end in good and in bad ways."""

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import psutil
import pytest

from mlp_core.data.pipeline import PREFETCHED_BATCHES, eval_batches, train_batches
from mlp_core.data.workers import SLOTS, ctrl_c_waits
from mlp_core.errors import UserError
from tests.conftest import HEAR_CTRL_C, ROOT


class Numbers:
    """A source whose examples are their indices; what its copies do at one draw is `trouble`."""

    def __init__(self, folder=None, trouble=None, at=None):
        self.folder, self.trouble, self.at = folder, trouble, at
        self.found, self.told = [], []

    def __setstate__(self, state):
        vars(self).update(state)
        if self.trouble == "copy":
            raise UserError("a sentence")

    def __len__(self):
        return 50

    def gather(self, indices, draws=None):
        if self.folder is not None:
            first = indices[0] if draws is None else draws[0]
            Path(self.folder, f"{first} {os.getpid()}").touch()
        if draws is not None and self.at in draws:
            if self.trouble == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.trouble == "mistake":
                raise UserError("a sentence")
            self.found.append(self.at)
        drawn = np.zeros(len(indices)) if draws is None else draws
        return {"index": indices, "picture": np.stack([drawn] * 4, 1).astype(np.uint8)}

    def digest(self):
        return "50 numbers"

    def findings(self):
        found, self.found = self.found, []
        return found

    def take_note(self, findings):
        self.told += findings


def batches(num_workers, first_step=0, total_steps=6, **source):
    return list(train_batches(Numbers(**source), 12, 3, first_step, total_steps, num_workers))


def test_batches_are_those_of_threads_whatever_the_number_of_workers(tmp_path):
    expected = batches(0)
    for num_workers, first_step in ((1, 4), (3, 0)):
        got = batches(num_workers, first_step, folder=tmp_path)
        assert len(got) == 6 - first_step
        for one, other in zip(expected[first_step:], got, strict=True):
            assert one.keys() == other.keys()
            for name in one:
                assert one[name].dtype == other[name].dtype
                np.testing.assert_array_equal(one[name], other[name])
    made_here = [path for path in tmp_path.iterdir() if path.name.endswith(f" {os.getpid()}")]
    assert len(made_here) == 2  # One look at a row each time, for its shapes.


def test_more_workers_than_rows_are_not_started():
    with closing(train_batches(Numbers(), 2, 0, 0, 3, 4)) as it:
        next(it)
        commands = [" ".join(child.cmdline()) for child in psutil.Process().children()]
        assert sum("spawn_main" in command for command in commands) == 2
        assert len(list(it)) == 2


def test_what_copies_find_is_told_to_the_original_as_its_batch_is_taken():
    source = Numbers(trouble="find", at=30)  # Of the third batch.
    with closing(train_batches(source, 12, 0, 0, 6, 2)) as it:
        told = [list(source.told) for _ in it]
    assert told[:2] == [[], []] and told[2:] == [[30]] * 4


@pytest.mark.parametrize(
    "trouble, message",
    [
        (
            "kill",
            "^config.data.num_workers: a worker .* was ended by SIGKILL .memory may .*point.$",
        ),
        ("mistake", "^a sentence$"),
    ],
)
def test_what_ends_a_worker_is_told_at_once_in_a_sentence(trouble, message):
    with closing(train_batches(Numbers(trouble=trouble, at=47), 12, 0, 0, 600, 2)) as it:
        next(it)
        started = time.monotonic()
        with pytest.raises(UserError, match=message):
            list(it)
    assert time.monotonic() - started < 60


def test_a_worker_that_was_killed_while_idle_keeps_no_one_from_ending():
    others = set(multiprocessing.active_children())
    with closing(train_batches(Numbers(), 12, 0, 0, 600, 2)) as it:
        next(it)
        time.sleep(1)  # Until both wait for work, one of them with the lock of the queue.
        workers = set(multiprocessing.active_children()) - others
        holder = max(workers, key=lambda worker: in_pipe_read(worker.pid))
        holder.kill()
    assert not any(worker.is_alive() for worker in workers)


def in_pipe_read(pid):
    """Whether a process waits for what comes through a pipe, and not for a lock."""
    return "pipe" in Path(f"/proc/{pid}/wchan").read_text()


class Table(Numbers):
    """A source that holds an array, of which its copies tell whether it lies in shared memory."""

    rows = np.arange(50)

    def gather(self, indices, draws=None):
        return {"row": self.rows[indices]}

    def findings(self):
        return [isinstance(getattr(self.rows.base, "base", None), ctypes.Array)]

    def __getstate__(self):
        return vars(self) | {"rows": self.rows}


def test_workers_share_the_arrays_of_a_source():
    source = Table()
    (batch,) = train_batches(source, 50, 0, 0, 1, 2)
    assert sorted(batch["row"]) == list(range(50))
    assert source.told == [True, True]


def test_a_copy_that_cannot_be_opened_is_told_in_a_sentence():
    with pytest.raises(UserError, match="^a sentence$"):
        next(train_batches(Numbers(trouble="copy"), 12, 0, 0, 6, 2))


def test_ctrl_c_while_workers_start_is_heard_when_they_have():
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    end, reached = threading.Event(), False
    threading.Thread(target=end.wait).start()  # The one that the system gives the signal to.
    try:
        with pytest.raises(KeyboardInterrupt), ctrl_c_waits():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)
            reached = True
        assert reached
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        end.set()
        signal.signal(signal.SIGINT, handler)


def wait_until(happened):
    """Waits for what takes seconds on an idle machine."""
    deadline = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_what_is_read_ahead_is_bounded(num_workers, tmp_path):
    ahead = SLOTS if num_workers else PREFETCHED_BATCHES
    with closing(train_batches(Numbers(tmp_path), 12, 0, 0, 10_000, num_workers)) as it:
        for _ in range(5):
            next(it)
        made = lambda: {int(path.name.split()[0]) // 12 for path in tmp_path.iterdir()}  # noqa: E731
        wait_until(lambda: len(made()) > 5)
        time.sleep(1)  # For what must not be made.
        assert len(made()) <= 5 + ahead


def test_evaluation_reads_ahead_and_within_bounds(tmp_path):
    made = lambda: len(list(tmp_path.iterdir()))  # noqa: E731
    with closing(eval_batches(Numbers(tmp_path), 5)) as it:
        next(it)
        wait_until(lambda: made() >= 2)
        time.sleep(0.5)  # For what must not be made.
        assert 2 <= made() <= 4


@pytest.mark.parametrize("how", ["kill", "interrupt", "close"])
def test_workers_end_with_the_process_that_started_them(how, tmp_path):
    code = (
        "from mlp_core.data.pipeline import train_batches\n"
        "from tests.mlp_core.data.test_workers import Numbers\n"
        f"it = train_batches(Numbers({str(tmp_path)!r}), 12, 0, 0, 10_000, 2)\n"
        "next(it); next(it)\n"
    )
    code += "it.close()" if how == "close" else "import time; time.sleep(60)"
    parent = subprocess.Popen(
        [sys.executable, "-c", HEAR_CTRL_C + code],
        cwd=ROOT, start_new_session=True, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_until(lambda: len(list(tmp_path.iterdir())) >= 5 or parent.poll())
    if how == "kill":
        parent.kill()
    elif how == "interrupt":  # As a terminal does: all processes of the group get it.
        os.killpg(parent.pid, signal.SIGINT)
    # Workers hold stderr open too, so that it ends only when the last of them has.
    _, errors = parent.communicate(timeout=50)
    assert errors.count("Traceback") == (1 if how == "interrupt" else 0), errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_workers_go_on_after_a_signal_to_all_processes_until_the_run_has_saved(tmp_path, number):
    code = (
        "import pathlib, time\n"
        "from mlp_core.process import preemption\n"
        "from mlp_core.data.pipeline import train_batches\n"
        "from tests.mlp_core.data.test_workers import Numbers\n"
        "preemption.listen()\n"
        "came = []\n"
        "it = train_batches(Numbers(), 12, 0, 0, 10_000, 2)\n"
        "with preemption.instead(lambda: came.append(True)):\n"
        "    next(it)\n"
        f"    pathlib.Path({str(tmp_path / 'begun')!r}).touch()\n"
        "    while not came: time.sleep(0.01)\n"
        "    time.sleep(0.5)\n"
        "    for _ in range(20): next(it)\n"
        "it.close()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT, start_new_session=True, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_until(lambda: (tmp_path / "begun").exists() or parent.poll() is not None)
    os.killpg(parent.pid, number)
    _, errors = parent.communicate(timeout=50)
    assert parent.returncode == 0, errors
