"""Promises about the source tree as a whole."""

import ast
import subprocess
import sys

import pytest

from tests.conftest import ROOT

MAY_IMPORT = {
    "mlp_core": {"mlp_core"},
    "mlp_vision": {"mlp_vision", "mlp_core"},
    "mlp_text": {"mlp_text", "mlp_core"},
    "configs": {"configs"},
    "launch": {"launch", "mlp_vision", "mlp_text", "mlp_core"},
}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield node.module.split(".")[0]


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_go_one_way(package):
    files = list((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        ours = set(imported(path)) & MAY_IMPORT.keys()
        assert ours <= MAY_IMPORT[package], f"{path} imports {ours - MAY_IMPORT[package]}"


def test_modules_stay_small_enough_to_read_in_one_sitting():
    for package in MAY_IMPORT:
        for path in (ROOT / package).rglob("*.py"):
            assert len(path.read_text().splitlines()) < 500, path


def test_packages_are_imported_without_touching_a_device():
    code = (
        "import mlp_core.runs.sweep, mlp_vision.experiment, mlp_text.experiment, launch.main, jax; "
        "assert not jax._src.xla_bridge._backends"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
