"""Processes of their own, as they end in good and in bad ways."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mlp_core.errors import Preempted, UserError
from mlp_core.process import preemption
from mlp_core.process import subprocess as own_process
from mlp_core.process.preemption import SaveRequest
from mlp_core.process.subprocess import run_in_own_process
from tests.conftest import HEAR_CTRL_C, ROOT


def answer(number):
    return {"pid": os.getpid(), "number": number}


def end_badly(how):
    if how == "mistake":
        raise UserError("a sentence")
    if how == "fault":
        raise RuntimeError("out of memory\nand more")
    os.kill(os.getpid(), signal.SIGKILL)


def test_it_returns_the_answer_of_another_process():
    given = run_in_own_process(answer, 3)
    assert given["number"] == 3 and given["pid"] != os.getpid()


@pytest.mark.parametrize(
    "how, message",
    [
        ("mistake", "^a sentence$"),
        ("fault", "^RuntimeError: out of memory$"),
        ("kill", "ended by SIGKILL .memory may have run out"),
    ],
)
def test_a_bad_end_is_an_error_of_one_sentence(how, message):
    with pytest.raises(UserError, match=message):
        run_in_own_process(end_badly, how)


def wait(path):
    Path(path).touch()
    time.sleep(60)


def wait_until_it_exists(path):
    deadline = time.time() + 60
    while not path.exists() and time.time() < deadline:
        time.sleep(0.05)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["SIGKILL", "SIGINT"])
def test_the_process_ends_with_its_parent(how, tmp_path):
    code = (
        "from mlp_core.process.subprocess import run_in_own_process\n"
        "from tests.mlp_core.process.test_subprocess import wait\n"
        f"run_in_own_process(wait, {str(tmp_path / 'started')!r})"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", HEAR_CTRL_C + code],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_until_it_exists(tmp_path / "started")
    if how == signal.SIGINT:
        os.killpg(parent.pid, how)  # Ctrl-C goes to all processes of a terminal.
    else:
        parent.send_signal(how)
    # Both hold stderr open, so that it ends only when the last of them has.
    errors = parent.communicate(timeout=20)[1]
    assert errors.count("Traceback") == (how == signal.SIGINT)


def save_when_asked(path):
    """As a run does."""
    with SaveRequest() as request:
        for step in range(3000):
            if request.has_come(step):
                raise Preempted(f"step {step} is saved")
            if step == 2:
                Path(path).touch()
            time.sleep(0.02)


CALLER = (
    "import sys\n"
    "from mlp_core.process import preemption\n"
    "from mlp_core.errors import Preempted\n"
    "from tests.mlp_core.process import test_subprocess as tests\n"
    "preemption.listen()\n"
    "try:\n"
    "    tests.{function}({started!r})\n"
    "except Preempted as end:\n"
    "    print(end)\n"
)


def start_caller(function, started):
    """Starts a process that calls a function of this module with a path."""
    return subprocess.Popen(
        [sys.executable, "-c", CALLER.format(function=function.__name__, started=str(started))],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run_what_saves(path):
    run_in_own_process(save_when_asked, path)


def run_what_waits(path):
    run_in_own_process(wait, path)


def assert_told(parent, told):
    out, errors = parent.communicate(timeout=50)
    assert parent.returncode == 0 and out.startswith(told) and out.count("\n") == 1, (out, errors)
    assert not errors


def send(process, number, to_all):
    """Sends a signal; a terminal, or Slurm, sends it to all processes of the command."""
    (os.killpg if to_all else os.kill)(process.pid, number)


@pytest.mark.parametrize(
    "number, to_all",
    [
        (signal.SIGTERM, False),
        (signal.SIGTERM, True),
        (signal.SIGHUP, False),
        (signal.SIGHUP, True),
    ],
)
@pytest.mark.parametrize(
    "function, told", [(run_what_saves, "step "), (run_what_waits, "the same command")]
)
def test_a_signal_is_passed_on_and_told(function, told, number, to_all, tmp_path):
    parent = start_caller(function, tmp_path / "started")
    wait_until_it_exists(tmp_path / "started")
    send(parent, number, to_all)
    assert_told(parent, told)


class WaitsWhereItArrives:
    """An argument that keeps the process starting: reading it there means to wait."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return wait, (self.path,)


def run_what_starts_slowly(path):
    run_in_own_process(answer, WaitsWhereItArrives(path))


@pytest.mark.parametrize("to_all", [False, True], ids=["to the caller", "to all"])
def test_a_signal_while_the_process_starts_is_not_lost(to_all, tmp_path):
    parent = start_caller(run_what_starts_slowly, tmp_path / "starting")
    wait_until_it_exists(tmp_path / "starting")
    send(parent, signal.SIGTERM, to_all)
    assert_told(parent, "the same command goes on")


def test_a_signal_that_comes_too_late_for_the_process_ends_its_caller():
    asked = threading.Event()

    def asks_late(receive):
        answer = receive()
        preemption._action()
        asked.set()
        return answer

    with pytest.raises(Preempted, match="the same command goes on"):
        run_with_late_signal(asks_late)
    assert asked.is_set()


def run_with_late_signal(asks_late):
    """Runs a function whose answer arrives just before a signal does."""
    plain = own_process.Connection.recv
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own_process.Connection, "recv", lambda self: asks_late(lambda: plain(self)))
        return run_in_own_process(answer, 3)
