"""How commands end."""

import os
import subprocess
import sys

import pytest

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


SYSTEM = """
import os, shutil, sys, pathlib
from launch import command

sys.argv = ["x"]
command.run_command(lambda: {work}, uses_jax=False)
"""
WHOLE_OUTPUT = "print('many lines\\\\n' * 100_000)"


@pytest.mark.parametrize(
    "work, shell, status, message",
    [
        ("pathlib.Path.home()", "env -u HOME", 2, "there is no home directory"),
        ("pathlib.Path.cwd()", "", 2, "the current directory: No such file or directory"),
        ("os.read(10**6, 1)", "", 2, "Bad file descriptor"),
        ("print('x')", "", 2, "no room is left on the disk"),
        ("print('x')", "", 0, ""),
        (WHOLE_OUTPUT, "", 141, ""),
    ],
    ids=["no home", "no directory", "any error", "full", "closed", "broken pipe"],
)
def test_what_the_system_refuses_is_told_in_a_sentence(
    request, tmp_path, work, shell, status, message
):
    case = request.node.callspec.id
    script = SYSTEM.format(work=work)
    if case == "no home":  # With the id of no user.
        script = "import pwd\npwd.getpwuid = lambda uid: {}[uid]\n" + script
    if case == "no directory":
        script = f"import os\nos.chdir({str(tmp_path)!r})\nos.rmdir(os.getcwd())\n" + script
    redirection = {"full": ">/dev/full", "closed": ">&-", "broken pipe": "| true"}.get(case, "")
    run = subprocess.run(
        ["bash", "-c", f'{shell} "$0" -c "$1" {redirection}; exit ${{PIPESTATUS[0]}}',
         sys.executable, script],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip
    assert run.returncode == status and message in run.stderr
    assert "Traceback" not in run.stderr and "Exception ignored" not in run.stderr
    assert len(run.stderr.splitlines()) == (1 if message else 0)
