"""Fetching ahead of time; tests/launch/test_prepare.py has the command."""

import shutil

import tensorflow_datasets as tfds

from configs import mixer_digits
from mlp_core.process.user_paths import cache_dir
from mlp_vision.tasks.preparation import prepare
from tests.conftest import ROOT
from tests.mlp_vision.data.made_archives import picture
from tests.mlp_vision.weights.made_weights import write_tiny


def told(capsys, start):
    """The one line printed that begins so."""
    (found,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith(start)]
    return found


def test_weights_are_fetched_to_where_a_run_looks(mirror, data_dir, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    config = mixer_digits.get_config()
    config.data.data_dir = data_dir
    config.init.weights, config.init.mirror = "gsam/Mixer-S_32", mirror[0]
    place = cache_dir() / "weights" / "gsam" / "Mixer-S_32.npz"
    for done in ("fetched", "there already"):
        assert prepare(config) == []
        line = told(capsys, "Weights")
        assert line == f"Weights gsam/Mixer-S_32: {done}, 72.9 MiB in {place}"


def test_weights_from_an_address_go_into_the_directory(mirror, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    config = mixer_digits.get_config()
    config.init.weights = f"{mirror[0]}/gsam/Mixer-S_32.npz"
    place = tmp_path / "shared" / "weights" / config.init.weights.removeprefix("http://")
    for done in ("fetched and copied", "there already"):
        flags = prepare(config, tmp_path / "shared")
        assert flags[1] == f"--config.init.weights={place}"
        assert told(capsys, "Weights").endswith(f": {done}, 72.9 MiB in {place}")
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)


def test_data_and_weights_named_by_their_path_stay_where_they_are(tmp_path, capsys):
    for number in range(4):
        folder = tmp_path / "pictures" / "train" / f"class_{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.jpg").write_bytes(picture(number))
    config = mixer_digits.get_config()
    config.data.name = str(tmp_path / "pictures")
    config.data.eval_splits.test = "train"
    config.init.weights = str(write_tiny(tmp_path / "mine.npz"))
    assert prepare(config, tmp_path / "shared") == []
    output = capsys.readouterr().out
    assert f"Data set {tmp_path}/pictures: there already, a folder of pictures\n" in output
    assert f"MiB in {tmp_path}/mine.npz\n" in output
    assert not list((tmp_path / "shared").iterdir())


def test_tfrecords_are_converted_once(tmp_path, capsys):
    shutil.copytree(ROOT / "tests" / "data" / "tfds" / "tiny", tmp_path / "tiny")
    config = mixer_digits.get_config()
    config.data.name, config.data.data_dir = "tiny", str(tmp_path)
    folder = tmp_path / "tiny" / "1.0.0" / "array_record"
    for done in ("converted", "there already"):
        assert prepare(config) == []
        assert told(capsys, f"Data set tiny/1.0.0: {done},").endswith(f"MiB in {folder}")
        assert len(tfds.builder_from_directory(folder).as_data_source("train")) == 23
