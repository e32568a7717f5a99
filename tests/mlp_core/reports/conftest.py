import pytest

from mlp_core.reports.runs import read_runs
from tests.mlp_core.reports.tiny_runs import train_runs


@pytest.fixture(scope="session")
def runs_folder(tmp_path_factory, data_dir):
    """A folder of runs that were really trained, one of them damaged and one unfinished."""
    root = tmp_path_factory.mktemp("runs")
    train_runs(root, data_dir)
    return root


@pytest.fixture(scope="session")
def runs(runs_folder):
    """Their records, and what is said of the others."""
    return read_runs(runs_folder)
