"""What predictions print."""

import os
import subprocess
import sys

from tests.conftest import ROOT

PRINTS = r"""
from launch import predict
predict._print_shares([("cat\x1b[2J\n 99.00 %  dog\u202e", 0.5), ("F\u00fcchse \u72d0", 0.25)])
"""


def test_names_of_classes_cannot_move_the_cursor_or_add_lines():
    # In its own process, since commands define flags of the same names.
    printed = subprocess.run(
        [sys.executable, "-c", PRINTS],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=True,
    )
    assert printed.stdout.splitlines() == [
        r"   50.00 %  cat\x1b[2J\n 99.00 %  dog\u202e",
        "   25.00 %  Füchse 狐",
    ]
