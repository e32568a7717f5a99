"""How commands end."""

import subprocess
import sys

from tests.conftest import ROOT

# SIGTERM comes while Python ends.
COMES_LATE = """
import atexit, os, signal, sys, time
from launch import command

sys.argv = ["x"]
atexit.register(time.sleep, 0.2)
atexit.register(os.kill, os.getpid(), signal.SIGTERM)
command.run_command(lambda: print("done"))
"""
SPELLED_WITH_DASHES = """
import sys
from absl import flags
from launch import command

FLAG = flags.DEFINE_string("an_own_flag", "", "")
sys.argv = ["x", "--an-own-flag=a-b", "--", "--an-own-flag=c"]
command.run_command(lambda files: print(FLAG.value, files), takes_files=True, uses_jax=False)
"""


UNREADABLE = """
import sys
from pathlib import Path
from launch import command

sys.argv = ["x"]
command.run_command(lambda: Path(sys.executable, "file").read_text(), uses_jax=False)
"""


def test_a_file_that_cannot_be_had_is_told_in_a_sentence():
    run = subprocess.run(
        [sys.executable, "-c", UNREADABLE], cwd=ROOT, capture_output=True, text=True
    )
    told = f"error: {sys.executable}/file: Not a directory; --debug tells where.\n"
    assert (run.returncode, run.stderr) == (2, told)


def test_a_command_that_has_done_everything_ends_well_whatever_comes():
    run = subprocess.run(
        [sys.executable, "-c", COMES_LATE], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "done\n", "")


def test_flags_may_be_spelled_with_dashes():
    run = subprocess.run(
        [sys.executable, "-c", SPELLED_WITH_DASHES], cwd=ROOT, capture_output=True, text=True
    )
    assert (run.stdout, run.stderr) == ("a-b ['--an-own-flag=c']\n", "")
