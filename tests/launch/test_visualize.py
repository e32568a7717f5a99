"""Figures from the command line."""

import subprocess
import sys

import pytest
from PIL import Image

from tests.conftest import ROOT


def launch(*args):
    return subprocess.run(
        [sys.executable, "launch/visualize.py", *map(str, args)],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@pytest.mark.slow
def test_figures_of_weights_and_of_runs_are_written(trained_run, mlm_run, tmp_path):
    commands = {
        "tokens.png": ["tokens", f"--weights={trained_run}", "--blocks=0,1", "--units=8"],
        "bands.svg": ["bands", f"--weights={mlm_run}"],
        "spatial.png": ["spatial", f"--weights={mlm_run}"],
        "curves.png": ["curves", trained_run, "--metric=test/top1"],
    }
    for name, arguments in commands.items():
        run = launch(*arguments, f"--output={tmp_path / name}")
        assert run.returncode == 0, run.stderr
        assert f"Wrote {tmp_path / name}" in run.stdout
    with Image.open(tmp_path / "tokens.png") as drawn:
        assert drawn.size[0] == 1100 and len(drawn.convert("RGB").getcolors(100_000)) > 20


@pytest.mark.parametrize(
    "args, message",
    [
        ([], "there is no figure ''; name one first: tokens, stem"),
        (["tokens", "x", "--output=x.png"], "'x': tokens takes --weights"),
        (["stem", "--weights=x", "--text=a", "--output=x.png"], "--text: stem has no use"),
        (["tokens", "--weights=x", "--output=x.png", "--blocks=one"], "--blocks=one: name numbers"),
        (["curves", "--metric=x", "--output=x.png"], "name the folder of a run"),
    ],
)
def test_mistakes_end_in_a_sentence(args, message):
    run = launch(*args)
    assert run.returncode == 2 and message in run.stderr and "Traceback" not in run.stderr
