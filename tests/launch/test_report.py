"""The report command, as a user runs it."""

import json
import os
import subprocess
import sys

import pytest

from mlp_vision.tasks.planning import published_costs
from tests.conftest import ROOT


def report(cwd, *flags):
    return subprocess.run(
        [sys.executable, ROOT / "launch" / "report.py", *flags],
        cwd=cwd,
        env=os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def made(trained_run, tmp_path_factory):
    """A report on one run that is another's kind, one damaged and one line of a benchmark."""
    folder = tmp_path_factory.mktemp("report")
    runs = folder / "runs"
    runs.mkdir()
    (runs / "trained").symlink_to(trained_run)
    (runs / "bad").mkdir()
    (runs / "bad" / "config.json").write_text("{")
    line = {"benchmark": "start_up", "figures": {"seconds": 1.5}, "sizes": {}}
    lines = [json.dumps(line), "{broken", json.dumps(line | {"sizes": 3})]
    (folder / "lines.jsonl").write_text("\n".join(lines) + "\n")
    done = report(folder, "--benchmarks=lines.jsonl", "--output=report.md")
    assert done.returncode == 0, done.stderr
    return folder, done.stdout, (folder / "report.md").read_text()


def test_published_tables_and_costs_are_told_and_cells_stay_blank(made):
    _, _, text = made
    assert "| Mixer-B/16 | 224 px | 59 **59.11** | **25.20** |" in text
    assert "| gMLP-S/16 | 224 px | 19.5 **19.50** | 8.9 **8.838** | 79.6 |" in text
    assert "| Mixer-L/16 | ImageNet-21k; 448 px | 84.15 | 87.86 | 93.91 | 74.95 |" in text
    assert "| gMLP | 144 layers | 357† **357.3** | 3.43† | 95.1† | 84.6† |" in text
    assert "| Mixer | 32 px | 82.3 |" in text and "| gMLP | 18 blocks | 80.4 |" in text


def test_what_is_damaged_is_named_and_benchmarks_are_told(made):
    _, stdout, text = made
    assert "Note: bad is left out" in stdout and "line 2, is left out" in stdout
    assert "line 3, is left out" in stdout
    assert "start\\_up | seconds 1.5" in text


def test_a_report_is_not_written_over_another_and_mistakes_are_told(made):
    folder, _, text = made
    for flag, sentence in {
        "--output=report.md": "something lies there; name another",
        "--output=report.pdf": "ends in .html or .md",
        "--benchmarks=none.jsonl": "cannot be read",
    }.items():
        done = report(folder, flag)
        assert done.returncode == 2 and sentence in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
    assert (folder / "report.md").read_text() == text
    assert not (folder / "report.html").exists()


def test_costs_for_planning_are_those_of_the_published_table():
    found = published_costs("mixer_l16", 224, "jft_300m", 14)
    assert (found.examples_per_core_second, found.core_days) == (419, 450)
    assert published_costs("mixer_l16", 448, "jft_300m", 14).core_days is None
    assert published_costs("mixer_b32", 224, "cifar10", None).examples_per_core_second == 4208
