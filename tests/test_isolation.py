"""Tests see and touch neither the checkout's runs nor the user's folders."""

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import CHECKOUT, HOME, ROOT, SCRATCH

OFFENCES = """
import subprocess, sys
from pathlib import Path
from tests.conftest import ROOT

def start(code):
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)

def test_in_home():
    (Path.home() / "first").touch()

def test_by_a_process_in_home():
    start("import os; open(os.path.expanduser('~/second'), 'w')")

def test_in_runs():
    Path("runs/third").mkdir(parents=True)

def test_by_a_process_in_the_current_folder():
    start("open('fourth', 'w')")
"""


def test_what_tests_leave_behind_fails_their_session(tmp_path):
    (tmp_path / "test_offences.py").write_text(OFFENCES)
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "tests.conftest",
            "-p",
            "no:cacheprovider",
            tmp_path,
        ],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != SCRATCH}
        | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1 and "4 passed, 1 error" in run.stdout, run.stdout
    (told,) = [
        line for line in run.stdout.splitlines() if "tests have changed" in line and "E " in line
    ]
    for name in ("home/first", "home/second", "checkout/runs/third", "checkout/fourth"):
        assert name in told


def test_what_lies_in_the_checkout_is_not_seen():
    assert Path.cwd() == ROOT != CHECKOUT
    assert (ROOT / "configs" / "mixer_digits.py").is_file()
    assert not (ROOT / "runs").exists()
    assert Path.home() == Path("~").expanduser() == HOME
    assert str(CHECKOUT) not in os.environ["XDG_CACHE_HOME"]
