"""Every benchmark runs, in small numbers, and ends with its line of JSON; how fast is not asked."""

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

SCRIPTS = [
    path for path in sorted((ROOT / "benchmarks").glob("*.py")) if "__main__" in path.read_text()
]
RARE = ("kill_series", "soak")  # These start processes again and again.


def marked(script):
    mark = pytest.mark.rare if script.stem in RARE else pytest.mark.slow
    return pytest.param(script, marks=mark, id=script.stem)


@pytest.mark.parametrize("script", [marked(script) for script in SCRIPTS])
def test_a_benchmark_runs_and_reports(script, tmp_path):
    run = subprocess.run(
        [sys.executable, script, "--quick"], cwd=tmp_path, capture_output=True, text=True,
        env=os.environ | {"TFDS_DATA_DIR": str(tmp_path / "tfds")},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout.splitlines()[-1])
    assert report["benchmark"] == script.stem and report["jax"]
