"""Paths as users write them."""

import pwd
from pathlib import Path

import pytest
import tensorflow_datasets as tfds

from mlp_core.data.tfds.prepared import open_prepared
from mlp_core.errors import UserError
from mlp_core.process.user_paths import check_utf8, user_path
from mlp_core.run_folder.run_directory import check_writable
from mlp_vision.data.digits import Digits
from tests.conftest import ROOT


def test_home_directories_are_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert user_path("~/runs") == Path("/home/me/runs")
    assert user_path("a/~x") == Path("a/~x")


@pytest.mark.parametrize("text", ["~no-such-user/x", "~no-such-user"])
def test_an_unknown_user_is_reported_with_the_flag(text):
    with pytest.raises(
        UserError, match=f"--output={text}: there is no home directory ~no-such-user"
    ):
        user_path(text, "--output=")


def test_a_process_without_a_home_directory_gets_a_sentence(monkeypatch):
    def unknown(_):
        raise KeyError("uid not found")

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(UserError, match="~/x: there is no home directory ~ on this machine"):
        user_path("~/x")


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b"])
def test_what_can_be_no_name_of_a_file_is_refused(text):
    with pytest.raises(UserError, match="no file can have this name"):
        user_path(text)


def test_names_that_are_not_utf_8_are_paths():
    assert user_path("\udcff") == Path("\udcff")


def test_directories_of_checkpoints_and_records_have_names_in_utf_8(tmp_path):
    check_utf8(tmp_path / "中")
    with pytest.raises(UserError, match="--workdir=.*only names in UTF-8"):
        check_writable(tmp_path / "\udcff")
    with pytest.raises(UserError, match="only names in UTF-8"):
        open_prepared("digits", str(tmp_path / "\udcff"), {"digits": Digits})
    assert not list(tmp_path.iterdir())


def test_no_other_module_expands_paths():
    files = [p for package in ("launch", "mlp_*") for p in ROOT.glob(f"{package}/**/*.py")]
    expanding = [file.name for file in files if ".expanduser()" in file.read_text()]
    assert expanding == ["user_paths.py"]


def test_without_a_home_directory_no_data_set_is_prepared(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", "~no_such_user/tensorflow_datasets")
    with pytest.raises(UserError, match="data_dir is not set; .* no home directory"):
        open_prepared("digits", None, {"digits": Digits})
    assert not list(tmp_path.iterdir())
