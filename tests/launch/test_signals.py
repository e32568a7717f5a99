"""Signals end a command in one sentence, with the right status, wherever they strike."""

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import time

import pytest

from tests.conftest import HEAR_CTRL_C, ROOT

LIMIT = 120  # Seconds; ends what hangs. Saving takes a minute where much else runs.
# Each program says "ready" where it is to be signalled.
START = """
import atexit, hashlib, os, sys, time
sys.argv[:] = ["x"]
from pathlib import Path
from launch import command
from mlp_core.process import preemption
from mlp_core.errors import Preempted

def ready(seconds=60):
    print("ready", flush=True)
    time.sleep(seconds)

def blocked():
    "Waits where no handler of Python's is called, as in a compilation."
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha512", b"", b"", 10**9)

def run(main):
    command.run_command(main, when_interrupted="; run it again", uses_jax=False)

"""
WAITS = "run(ready)"
CLEANS_UP = """
def main():
    try:
        ready()
    finally:
        ready()
run(main)
"""
FORGETS = """
class Forgets:
    def __del__(self):
        ready()  # An error in here is printed and forgotten.
def main():
    Forgets()
    time.sleep(60)
run(main)
"""
EXITS = "atexit.register(ready)\nrun(ready)"
SUCCEEDS = "atexit.register(ready, 1)\nrun(lambda: print('done'))"
FAILS = "atexit.register(ready, 1)\nsys.argv.append('y')\nrun(ready)"
WRITES = """
def main():
    file = Path(sys.argv[0])
    file.touch()
    with preemption.removed_at_end(file):
        ready()
import pathlib
run(main)
"""


def start(program, arguments=(), **options):
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    return subprocess.Popen(
        [sys.executable, "-c", HEAR_CTRL_C + START + program, *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        start_new_session=True,
        **options,
    )


def wait_until_ready(process, times=1):
    for _ in range(times):
        while (line := process.stdout.readline()) != "ready\n":
            assert line, process.stderr.read()


def end(process):
    out, err = process.communicate(timeout=LIMIT)
    return process.returncode, err.splitlines()


@pytest.mark.parametrize(
    "number, status, sentence",
    [
        (signal.SIGTERM, 75, "ended by SIGTERM; give the same command again"),
        (signal.SIGHUP, 75, "ended by SIGHUP; give the same command again"),
        (signal.SIGINT, 130, "interrupted"),
    ],
)
def test_signals_are_handled_while_a_command_is_imported(tmp_path, number, status, sentence):
    (tmp_path / "ml_collections.py").write_text(
        "import time\nprint('ready', flush=True)\ntime.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "launch/main.py"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # In a background process it may be ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait_until_ready(process)
    process.send_signal(number)
    assert end(process) == (status, [sentence])


@pytest.mark.parametrize(
    "program", [WAITS, CLEANS_UP, EXITS], ids=["at work", "cleaning up", "in exit handlers"]
)
def test_a_second_ctrl_c_ends_at_once_without_a_traceback(program):
    process = start(program)
    wait_until_ready(process)
    process.send_signal(signal.SIGINT)
    if program != WAITS:
        wait_until_ready(process)
    process.send_signal(signal.SIGINT)
    assert end(process) == (130, ["interrupted; run it again"])


def test_many_in_a_row_end_like_one():
    process = start(CLEANS_UP)
    wait_until_ready(process)
    for _ in range(20):
        process.send_signal(signal.SIGINT)
        time.sleep(0.001)
    assert end(process) == (130, ["interrupted; run it again"])


def test_a_second_ctrl_c_ends_what_is_deaf_to_the_first():
    process = start("run(blocked)")
    wait_until_ready(process)
    time.sleep(0.5)  # Until it is in the C function that it calls next.
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert end(process) == (130, ["interrupted; run it again"])


def test_a_ctrl_c_that_python_would_forget_ends_the_command():
    process = start(FORGETS)
    wait_until_ready(process)
    process.send_signal(signal.SIGINT)
    assert end(process) == (130, ["interrupted; run it again"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("program", [WAITS, "run(blocked)"], ids=["at work", "in a compilation"])
def test_what_has_nothing_to_save_ends_at_once(program, number):
    process = start(program)
    wait_until_ready(process)
    process.send_signal(number)
    sentence = f"ended by {number.name}; give the same command again"
    assert end(process) == (75, [sentence])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize("program, status", [(SUCCEEDS, 0), (FAILS, 2)], ids=["done", "failed"])
def test_a_signal_while_python_shuts_down_changes_nothing(program, status, number):
    process = start(program)
    wait_until_ready(process)
    process.send_signal(number)
    got, errors = end(process)
    assert got == status and len(errors) == (status == 2)


def test_what_is_unfinished_is_removed(tmp_path):
    file = tmp_path / "part"
    process = start(WRITES.replace("sys.argv[0]", repr(str(file))))
    wait_until_ready(process)
    assert file.exists()
    process.terminate()
    assert end(process)[0] == 75 and not file.exists()


def test_under_nohup_the_end_of_a_session_is_not_heard():
    process = start(
        "run(lambda: ready(1))", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    )
    wait_until_ready(process)
    process.send_signal(signal.SIGHUP)
    assert end(process) == (0, [])


# Saves when asked, and speaks before it does.
TRAINS = """
def main():
    with preemption.SaveRequest() as request:
        for step in range(10**6):
            if request.has_come(step):
                print("saves", flush=True)
                print("saves", file=sys.stderr, flush=True)
                Path(SAVED).write_text("saved")
                raise Preempted(f"step {step} is saved")
            if step == 3:
                print("ready", flush=True)
            time.sleep(0.01)
run(main)
"""


def has_terminal(terminal):
    """Makes a terminal the controlling one of a new session."""
    return lambda: fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)


@pytest.mark.parametrize("reader", ["terminal", "tee"])
def test_a_run_whose_terminal_is_closed_saves(tmp_path, reader):
    saved = tmp_path / "saved"
    program = TRAINS.replace("SAVED", repr(str(saved)))
    if reader == "terminal":
        ours, theirs = pty.openpty()
        process = start(program, stdout=theirs, stderr=theirs, preexec_fn=has_terminal(theirs))
        os.close(theirs)
        while b"ready" not in os.read(ours, 1000):
            pass
        os.close(ours)  # The kernel sends SIGHUP.
    else:
        ours, theirs = os.pipe()
        process = start(program, stdout=theirs, stderr=subprocess.DEVNULL)
        os.close(theirs)
        while b"ready" not in os.read(ours, 1000):
            pass
        os.close(ours)
        process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=LIMIT) == 75
    assert saved.read_text() == "saved"


def test_what_is_printed_to_a_closed_terminal_is_dropped(tmp_path):
    done = tmp_path / "done"
    program = f"""
def main():
    print("ready", flush=True)
    while os.isatty(1):
        time.sleep(0.01)
    for stream in (sys.stdout, sys.stderr):
        print("a line", file=stream, flush=True)
        stream.write("no end of line")
        stream.flush()
    Path({str(done)!r}).touch()
run(main)
"""
    ours, theirs = pty.openpty()

    def has_terminal_and_hears_no_hangup():
        has_terminal(theirs)()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    process = start(
        program, stdout=theirs, stderr=theirs, preexec_fn=has_terminal_and_hears_no_hangup
    )
    os.close(theirs)
    while b"ready" not in os.read(ours, 1000):
        pass
    os.close(ours)
    assert process.wait(timeout=LIMIT) == 0
    assert done.exists()


RUN = (
    *("--config=configs/mixer_digits.py", "--config.train.duration=60 steps"),
    *("--config.train.global_batch_size=32", "--config.schedule.warmup=5 steps"),
    *("--config.evaluation.every=10 steps", "--config.checkpoint.every=5 steps"),
    *("--config.log.every=1 step", "--config.data.num_workers=1"),
)
MOMENTS = ("Devices:", "Compiling the training step", "Compiling the evaluation step", "step 7/60")


@pytest.mark.slow
@pytest.mark.parametrize(
    "numbers, status",
    [((signal.SIGINT, signal.SIGINT), 130), ((signal.SIGTERM,), 75), ((signal.SIGHUP,), 75)],
    ids=["two Ctrl-Cs", "SIGTERM", "SIGHUP"],
)
def test_a_run_ended_at_any_moment_resumes(tmp_path, data_dir, numbers, status):
    """To all processes of the run, as terminals and Slurm send them."""
    command = [sys.executable, "-u", "launch/main.py", *RUN, f"--workdir={tmp_path / 'run'}"]
    options = {
        "cwd": ROOT,
        "env": os.environ | {"TFDS_DATA_DIR": data_dir, "JAX_PLATFORMS": "cpu"},
        "text": True,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
    }
    for moment in MOMENTS:
        process = subprocess.Popen(
            command,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            **options,
        )
        while line := process.stdout.readline():
            if line.startswith(moment):
                break
        assert line, process.stderr.read()
        for number in numbers:
            os.killpg(process.pid, number)
            time.sleep(0.01)
        out, errors = process.communicate(timeout=LIMIT)
        assert process.returncode == status, out + errors
        assert "Traceback" not in out + errors
        told = [
            line for line in errors.splitlines() if line.startswith(("interrupted", "ended by"))
        ]
        assert len(told) == 1, errors
    assert status == 130 or "is saved" in told[0]
    end = subprocess.run(command, **options, timeout=2 * LIMIT)
    assert end.returncode == 0 and "Traceback" not in end.stderr, end.stderr
    assert status == 130 or "Start: goes on from step" in end.stdout
