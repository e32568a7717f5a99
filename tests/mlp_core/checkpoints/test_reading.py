"""Arrays are read from a checkpoint, or it is told once that they cannot be."""

import gc
import logging
import sys

import jax
import numpy as np
import pytest
from orbax.checkpoint import v1 as ocp

from mlp_core.checkpoints.restore import read_arrays
from mlp_core.process.console import quiet_libraries
from mlp_core.run_folder.checkpoint_folder import DamagedError


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint of many arrays, and what is in it."""
    numbers = np.random.default_rng(0)
    arrays = {f"layer_{i}": {"kernel": numbers.normal(size=(64, 16))} for i in range(40)}
    ocp.save(tmp_path / "1", arrays)
    return tmp_path / "1", arrays


def test_arrays_are_read_in_the_wanted_shapes(checkpoint):
    path, arrays = checkpoint
    found = read_arrays(path, jax.tree.map(np.empty_like, arrays))
    jax.tree.map(np.testing.assert_array_equal, found, arrays)


@pytest.fixture
def quiet(monkeypatch):
    """Libraries are quiet, as in a command, for one test."""
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    for name in ("absl", "asyncio"):
        logger = logging.getLogger(name)
        monkeypatch.setattr(logger, "filters", list(logger.filters))
    quiet_libraries()


def test_of_many_damaged_arrays_one_is_told_and_no_traceback_follows(checkpoint, caplog, quiet):
    path, arrays = checkpoint
    for file in path.rglob("d/*"):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    for _ in range(20):  # How many others have failed by then is a matter of chance.
        with pytest.raises(DamagedError, match="damaged or of another model .*Error"):
            read_arrays(path, jax.tree.map(np.empty_like, arrays))
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"]
