"""Checkpoints are saved and read in directories of any name, and repaired where they were not."""

import contextlib

import numpy as np
import pytest

from mlp_core.checkpoints import paths as checkpoint_paths
from mlp_core.checkpoints import save as checkpoint
from mlp_core.checkpoints.paths import literal_path
from mlp_core.checkpoints.save import SavedParams
from mlp_core.errors import UserError
from mlp_core.train.loop import train
from tests.mlp_core.checkpoints.test_damaged_checkpoints import (
    METRIC,
    abstract_state,
    made_state,
    opened,
    truncate,
)
from tests.mlp_core.train.quadratic import Quadratic
from tests.mlp_core.train.test_loop import settings

NAMES = [
    *("train[:50%]", "s*", "**", "what?", "back\\slash", "[!x]", "gs:", "logs:/x", "\udcff", "~"),
    "~root {y} {} %s %d % # a|b $HOME 'q' \"d\" &; é ü \n -rf x.orbax-checkpoint-tmp",
    "[x] {y} %s * ? # | \\ & ~,",
]
UNREADABLE = ["train[:50%]", "back\\slash"]  # To Orbax, given the path as it is.


def kernel(step):
    return np.asarray(made_state(step).params["a"]["kernel"])


def save(folder, *steps):
    checkpoints = opened(folder)
    checkpoints.load_newest(abstract_state())
    for step in steps:
        checkpoints.save(step, made_state(step), {METRIC: 0.1}, {})
    checkpoints.close()


@pytest.fixture
def unguarded(monkeypatch):
    """Orbax gets every path as it is, as it did in earlier versions."""
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "literal_path", contextlib.nullcontext)
        yield patch


@pytest.mark.parametrize("name", NAMES)
def test_checkpoints_in_a_directory_of_any_name_can_be_read(tmp_path, name):
    folder = tmp_path / name / "checkpoints"
    save(folder, 2, 4)
    checkpoints = opened(folder)
    state = checkpoints.load_newest(abstract_state())
    assert state.step == 4 and checkpoints.latest_step == 4
    np.testing.assert_array_equal(state.params["a"]["kernel"], kernel(4))
    checkpoints.close()
    np.testing.assert_array_equal(SavedParams(folder / "2").read()["a/kernel"], kernel(2))
    assert [path.name for path in tmp_path.iterdir()] == [name.partition("/")[0]]


def test_a_save_takes_nothing_from_runs_whose_names_match_its_own(tmp_path):
    other = tmp_path / "what!"
    save(other, 2)
    unfinished = (other / "2").rename(other / "4.orbax-checkpoint-tmp")
    (unfinished / "state").rename(unfinished / "state.orbax-checkpoint-tmp")
    save(tmp_path / "what?", 4)
    found = SavedParams(tmp_path / "what?" / "4").read()
    np.testing.assert_array_equal(found["a/kernel"], kernel(4))


@pytest.mark.parametrize("name", UNREADABLE)
@pytest.mark.parametrize("moved", [False, True])
def test_a_checkpoint_that_lacks_its_index_is_completed(
    tmp_path, unguarded, monkeypatch, name, moved, capsys
):
    folder = tmp_path / name / "checkpoints"
    unguarded.setattr(checkpoint.Checkpoints, "_read_back", lambda *_: None)
    save(folder, 2, 4)
    unguarded.undo()
    if moved and "\\" not in name:
        (tmp_path / name).rename(tmp_path / "moved")
        folder = tmp_path / "moved" / "checkpoints"
    np.testing.assert_array_equal(SavedParams(folder / "2").read()["a/kernel"], kernel(2))
    checkpoints = opened(folder)
    assert checkpoints.load_newest(abstract_state()).step == 4
    checkpoints.save(6, made_state(6), {METRIC: 0.1}, {})
    checkpoints.close()
    out = capsys.readouterr().out
    assert out.count("lacked the index of its arrays; it has been added") == 2
    checkpoints = opened(folder)
    assert checkpoints.load_newest(abstract_state()).step == 6
    checkpoints.close()


def test_a_damaged_checkpoint_that_lacks_its_index_is_not_taken(tmp_path, capsys):
    save(tmp_path, 2, 4)
    state = tmp_path / "4" / "state"
    (state / "manifest.ocdbt").unlink()
    truncate(tmp_path / "4")
    checkpoints = opened(tmp_path)
    assert checkpoints.load_newest(abstract_state()).step == 2
    checkpoints.close()
    assert "damaged_4" in capsys.readouterr().out


def test_an_index_that_cannot_be_written_is_reported(tmp_path, unguarded, monkeypatch):
    folder = tmp_path / "[x]"
    unguarded.setattr(checkpoint.Checkpoints, "_read_back", lambda *_: None)
    save(folder, 2)
    unguarded.undo()

    def refuse(state):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(checkpoint_paths, "_merge_index", refuse)
    message = "the index of its arrays is missing and cannot be written: .* Permission denied"
    with pytest.raises(UserError, match=message):
        opened(folder).load_newest(abstract_state())
    with pytest.raises(UserError, match=message):
        SavedParams(folder / "2")


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_run_whose_first_checkpoint_cannot_be_read_back_ends(tmp_path, unguarded, name):
    with pytest.raises(
        UserError, match="4: this checkpoint was saved and cannot be read back"
    ) as e:
        train(Quadratic(), settings(), tmp_path / name)
    assert str(e.value).endswith("As for the last good checkpoint, none was saved.")


def test_without_other_paths_such_a_directory_is_refused_before_training(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_paths, "OPEN_DIRECTORIES", tmp_path / "none")
    with pytest.raises(UserError, match=r"\[x\]/checkpoints: on this system, checkpoints cannot"):
        opened(tmp_path / "[x]" / "checkpoints").load_newest(abstract_state())
    with literal_path(tmp_path / "an ordinary name") as path:
        assert path == tmp_path / "an ordinary name"
