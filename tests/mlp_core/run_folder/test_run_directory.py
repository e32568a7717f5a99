import errno
import fcntl
import os

import pytest
from ml_collections import ConfigDict

from mlp_core.errors import UserError
from mlp_core.run_folder.run_directory import (
    check_run_directory,
    locked,
    read_results,
    save_config,
    save_results,
)

CONFIG = ConfigDict({"seed": 0, "train": {"batch": 8, "range": (0.0, 1.0)}})


def test_the_same_config_is_welcome_again(tmp_path):
    workdir = tmp_path / "new" / "run"
    check_run_directory(workdir, CONFIG)
    save_config(workdir, CONFIG)
    check_run_directory(workdir, CONFIG)


def test_a_run_without_a_checkpoint_may_be_replaced(tmp_path):
    save_config(tmp_path, CONFIG)
    other = ConfigDict({"seed": 1})
    check_run_directory(tmp_path, other)
    save_config(tmp_path, other)
    (tmp_path / "checkpoints" / "5").mkdir(parents=True)
    check_run_directory(tmp_path, other)


def test_every_difference_is_shown_and_nothing_is_touched(tmp_path):
    save_config(tmp_path, CONFIG)
    (tmp_path / "checkpoints" / "5").mkdir(parents=True)
    before = (tmp_path / "config.json").read_bytes()
    other = ConfigDict({"seed": 0, "train": {"batch": 9, "range": (0.0, 1.0)}, "new": "x"})
    with pytest.raises(UserError) as error:
        check_run_directory(tmp_path, other)
    assert "config.train.batch: 8 there, 9 now" in str(error.value)
    assert 'config.new: "(not set)" there, "x" now' in str(error.value)
    assert "config.seed" not in str(error.value)
    assert (tmp_path / "config.json").read_bytes() == before


def test_a_run_is_the_same_whatever_sweep_is_around_it(tmp_path):
    save_config(tmp_path, CONFIG)
    (tmp_path / "checkpoints" / "5").mkdir(parents=True)
    swept = ConfigDict(CONFIG.to_dict() | {"sweep": {"grid": ("seed=0,1",), "train_split": "all"}})
    check_run_directory(tmp_path, swept)
    save_config(tmp_path, swept)
    check_run_directory(tmp_path, CONFIG)


def test_a_run_is_the_same_however_many_workers_read_its_data(tmp_path):
    save_config(tmp_path, CONFIG)
    (tmp_path / "checkpoints" / "5").mkdir(parents=True)
    check_run_directory(tmp_path, ConfigDict(CONFIG.to_dict() | {"data": {"num_workers": 4}}))
    with pytest.raises(UserError, match="config.data.name"):
        check_run_directory(tmp_path, ConfigDict(CONFIG.to_dict() | {"data": {"name": "x"}}))


@pytest.mark.parametrize("section, field", [("init", "weights"), ("data", "name")])
def test_a_run_is_the_same_however_its_paths_are_spelled(tmp_path, monkeypatch, section, field):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()

    def config(path):
        return ConfigDict({section: {field: path}})

    run = tmp_path / "run"
    (run / "checkpoints" / "5").mkdir(parents=True)
    save_config(run, config("folder"))
    for spelling in ("folder/", "./folder", f"{tmp_path}/folder", "run/../folder"):
        check_run_directory(run, config(spelling))
    for other in ("run", "imagenet1k/Mixer-B_16"):
        with pytest.raises(UserError, match=f"config.{section}.{field}"):
            check_run_directory(run, config(other))


def test_a_run_goes_on_when_fields_that_it_did_not_have_are_unset_or_empty(tmp_path):
    save_config(tmp_path, CONFIG)
    (tmp_path / "checkpoints" / "5").mkdir(parents=True)
    values = CONFIG.to_dict()
    check_run_directory(tmp_path, ConfigDict(values | {"new": {"tuple": (), "text": None}}))
    with pytest.raises(UserError, match='config.new.tuple: "[(]not set[)]" there, ."a". now'):
        check_run_directory(tmp_path, ConfigDict(values | {"new": {"tuple": ("a",)}}))
    with pytest.raises(UserError, match='config.new: "[(]not set[)]" there, 0 now'):
        check_run_directory(tmp_path, ConfigDict(values | {"new": 0}))


def test_results_are_those_of_a_finished_run_of_this_config(tmp_path):
    save_config(tmp_path, CONFIG)
    (tmp_path / "checkpoints" / "5").mkdir(parents=True)
    assert read_results(tmp_path, CONFIG) is None
    save_results(tmp_path, {"test/top1": 0.5})
    assert read_results(tmp_path, CONFIG) == {"test/top1": 0.5}
    assert read_results(tmp_path, ConfigDict({"seed": 1})) is None
    save_config(tmp_path, CONFIG)  # It is started again.
    assert read_results(tmp_path, CONFIG) == {"test/top1": 0.5}
    (tmp_path / "checkpoints" / "5").rmdir()
    save_config(tmp_path, CONFIG)  # Another run begins.
    assert not (tmp_path / "results.json").exists()


def test_an_unreadable_config_is_told(tmp_path):
    (tmp_path / "config.json").write_text("{")
    (tmp_path / "checkpoints" / "5").mkdir(parents=True)
    with pytest.raises(UserError, match="config.json: not readable"):
        check_run_directory(tmp_path, CONFIG)


def test_a_folder_in_use_is_refused_and_free_again_after(tmp_path):
    with (
        locked(tmp_path),
        pytest.raises(UserError, match="another run is at work"),
        locked(tmp_path),
    ):
        pass
    with locked(tmp_path):
        pass


def test_where_there_are_no_locks_the_user_is_told(tmp_path, monkeypatch, capsys):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    with locked(tmp_path):
        monkeypatch.setattr(fcntl, "flock", refuse)  # As some network file systems do.
        with locked(tmp_path):
            pass
    assert "this file system has no locks; see to it that no other" in capsys.readouterr().out
