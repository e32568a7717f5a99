"""The notebooks run from their first cell to their last, offline, on a CPU, and hold no outputs."""

import os

import nbclient
import nbformat
import pytest

from tests.conftest import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MOST_SECONDS = 300  # A cell, on a busy machine.


def names_of(path):
    return path.stem


def test_there_are_notebooks_and_they_are_kept_without_outputs():
    assert len(NOTEBOOKS) >= 2
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        codes = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert codes and not any(cell.outputs or cell.execution_count for cell in codes), path


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=names_of)
def test_a_notebook_runs_and_draws(path, tmp_path, monkeypatch, data_dir):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setenv("TFDS_DATA_DIR", data_dir)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # Offline, whatever the machine is.
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=MOST_SECONDS, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    calls = [c for c in notebook.cells if c.cell_type == "code" and _draws(c.source)]
    assert calls and len(pictures) == len(calls)


def _draws(source):
    last_line = source.splitlines()[-1]
    functions = ("training_curves", "token_units", "stem_filters", "spatial_rows", "plt.show")
    return last_line.startswith((*functions, "toeplitz_bands", "attention_maps"))
