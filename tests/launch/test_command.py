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


def test_a_command_that_has_done_everything_ends_well_whatever_comes():
    run = subprocess.run(
        [sys.executable, "-c", COMES_LATE], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "done\n", "")
