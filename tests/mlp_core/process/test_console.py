"""Printing of foreign text, on streams of all kinds."""

import os
import subprocess
import sys

import pytest

from mlp_core.process.console import escaped, in_one_line, print_error, print_line, say
from tests.conftest import ROOT

FOREIGN = "é 中 \N{GRINNING FACE} \x1b[31m \x07 \x9b \u202e \u2028 \udcff"

PRINTS = f"""
from mlp_core.process import console
console.prepare_streams()
console.print_line({FOREIGN!a})
console.print_error({FOREIGN!a})
print({FOREIGN!a})  # As a library would.
console.drop_unwritten()
"""


@pytest.mark.parametrize(
    "text, shown",
    [
        ("plain", "plain"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("10 %\r99 %", r"10 %\r99 %"),
        ("\x9b31m", r"\x9b31m"),
        ("gnp.\u202egpj", r"gnp.\u202egpj"),
        ("a\u2028b", r"a\u2028b"),
        ("\udcff", r"\udcff"),
        ("é 中 \N{GRINNING FACE}", "é 中 \N{GRINNING FACE}"),
        ("\N{WOMAN}\u200d\N{PERSONAL COMPUTER}", "\N{WOMAN}\u200d\N{PERSONAL COMPUTER}"),
    ],
)
def test_control_characters_are_printed_as_escapes(capsys, text, shown):
    assert escaped(text) == shown
    for prints in (print_line, print_error, say):
        prints(text)
        assert "".join(capsys.readouterr()) == f"{shown}\n"


def test_names_stay_in_one_line():
    assert in_one_line("cat\nerror: none\t") == r"cat\nerror: none\t"


def run_printing(**environment):
    names = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [sys.executable, "-c", PRINTS],
        cwd=ROOT, env=names | environment, capture_output=True, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii:strict"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "utf-8:strict"},
    ],
    ids=["ascii", "C", "utf-8"],
)
def test_foreign_text_is_printed_whatever_the_encoding(environment):
    run = run_printing(**environment)
    assert run.returncode == 0, run.stderr
    lines = [line for line in (run.stdout + run.stderr).split(b"\n") if line]
    assert len(lines) == 3
    for line in lines:
        for shown in (rb"\x1b[31m", rb"\x07", rb"\x9b", rb"\u202e", rb"\u2028", rb"\udcff"):
            assert shown in line
        assert b"\x1b" not in line and "\u202e".encode() not in line


CLOSED = """
import os, sys
from mlp_core.process import console
console.prepare_streams()
with open({file!r}, "w") as file:  # Would be the standard stream if that were still closed.
    console.print_line("printed")
    console.print_error("printed")
    if sys.argv[1:]:
        os.write(1, b"by a library in C++")
console.drop_unwritten()
"""


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&- <&-", "2>/dev/full"])
def test_what_is_printed_to_closed_streams_ends_in_no_file(tmp_path, closed):
    script = CLOSED.format(file=str(tmp_path / "file"))
    run = subprocess.run(
        ["bash", "-c", f'exec "$0" -c "$1" closed {closed}', sys.executable, script],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (tmp_path / "file").read_text() == ""
    assert run.returncode == 0 and "Traceback" not in run.stderr
