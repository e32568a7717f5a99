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
PACKAGES = ("mlp_core", "mlp_vision", "mlp_text")


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_go_one_way(package):
    files = list((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        ours = {name.split(".")[0] for name in imported(path)} & MAY_IMPORT.keys()
        assert ours <= MAY_IMPORT[package], f"{path} imports {ours - MAY_IMPORT[package]}"


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_between_the_folders_of_a_package_go_one_way(package):
    """A module beside the folders counts as one, but for `__init__`, which none here imports."""
    imports = {}
    for path in (ROOT / package).rglob("*.py"):
        folder = path.relative_to(ROOT / package).with_suffix("").parts[0]
        names = (name.split(".") for name in imported(path))
        others = {name[1] for name in names if name[0] == package and len(name) > 1}
        imports.setdefault(folder, set()).update(others - {folder})
    del imports["__init__"]
    assert len(imports) > 3
    while imports:  # Those that import no other of the rest.
        lowest = {folder for folder, others in imports.items() if not others & imports.keys()}
        assert lowest, f"a circle among {sorted(imports)}"
        imports = {folder: others for folder, others in imports.items() if folder not in lowest}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_has_few_folders_and_a_folder_few_modules(package):
    entries = [path for path in (ROOT / package).iterdir() if path.name != "__pycache__"]
    assert len(entries) <= 15, entries
    for folder in {path.parent for path in (ROOT / package).rglob("*.py")}:
        modules = [path.name for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(modules) <= 15, (folder, modules)


def test_modules_stay_small_enough_to_read_in_one_sitting():
    for package in MAY_IMPORT:
        for path in (ROOT / package).rglob("*.py"):
            assert len(path.read_text().splitlines()) < 500, path


def test_packages_are_imported_without_touching_a_device():
    code = (
        "import jax, launch.main, mlp_core.runs.sweep; "
        "import mlp_text.tasks.experiment, mlp_vision.tasks.experiment; "
        "assert not jax._src.xla_bridge._backends"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_importing_the_packages_changes_nothing_of_the_process():
    """Libraries of theirs may, so that these come first."""
    code = (
        "import logging, sys, warnings\n"
        "import cv2, matplotlib.pyplot, PIL.TiffImagePlugin, tensorflow_datasets\n"
        "from orbax.checkpoint import v1\n"
        "def state():\n"
        "    loggers = [logging.getLogger(name) for name in ('absl', 'asyncio')]\n"
        "    filters = [str(logger.filters) for logger in loggers]\n"
        "    of_pillow = [each for each in warnings.filters if 'PIL' in str(each)]\n"
        "    return sys.unraisablehook, of_pillow, filters, cv2.getNumThreads()\n"
        "before = state()\n"
        "import mlp_core.runs.sweep, mlp_text.tasks.experiment, mlp_vision.tasks.experiment\n"
        "assert state() == before, (before, state())\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
