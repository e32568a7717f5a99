"""A run resumes on the images that it was started on, wherever they lie, and on no others."""

import json
import os
import shutil

import pytest

from mlp_core.errors import UserError
from mlp_core.run_folder.run_directory import RunFiles, read_finished_results, save_config
from mlp_core.runs.compare import Entry, run_comparison
from mlp_core.runs.sweep import run_sweep
from mlp_vision.tasks import experiment
from tests.configs.config_files import load
from tests.conftest import ROOT
from tests.mlp_vision.data.made_photos import encoded, photo, write_folder

STEPS = 6  # Two epochs.


def config_for(folder):
    config = load(ROOT / "configs" / "mixer_digits.py", "smoke")
    config.data.name = str(folder)
    config.data.train_split = "train"
    config.data.eval_splits = {"test": "test"}
    config.data.image_size, config.model.patch_size, config.model.num_blocks = 16, 8, 1
    config.evaluation.best_metric = "test/top1"
    config.train.duration, config.train.global_batch_size = "2 epochs", 8
    config.evaluation.every = config.checkpoint.every = "1 epoch"
    return config


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Images, and a run on them that has reached its end."""
    folder = tmp_path_factory.mktemp("changed_data")
    experiment.train(config_for(write_folder(folder / "images")), folder / "run")
    return folder


@pytest.fixture
def images(finished, tmp_path):
    """A copy of them, on another disk as it were."""
    return shutil.copytree(finished / "images", tmp_path / "moved" / "images")


@pytest.fixture
def run(finished, tmp_path):
    """The run as a kill in its second epoch would have left it."""
    run = shutil.copytree(finished / "run", tmp_path / "run")
    shutil.rmtree(run / "checkpoints" / str(STEPS))
    return run


def last_step(run):
    return max(int(path.name) for path in (run / "checkpoints").iterdir())


@pytest.mark.parametrize("spelling", ["{}", "{}/", "{}/../images", "relative"])
def test_moved_images_are_the_same_images(images, run, spelling, monkeypatch):
    monkeypatch.chdir(images.parent)
    name = "images" if spelling == "relative" else spelling.format(images)
    experiment.train(config_for(name), run)
    assert last_step(run) == STEPS


def add_image(images):
    (images / "train" / "cat" / "new.jpg").write_bytes(encoded(photo(7)))


def remove_image(images):
    (images / "train" / "cat" / "3.jpg").unlink()


def replace_image(images):
    """By one of as many bytes."""
    file = images / "train" / "dog" / "3.png"
    content = bytearray(file.read_bytes())
    content[-20] ^= 1
    file.write_bytes(content)


def rename_image(images):
    os.rename(images / "train" / "cat" / "3.jpg", images / "train" / "cat" / "33.jpg")


def remove_test_image(images):
    (images / "test" / "dog" / "0.png").unlink()


def exchange_labels(images):
    for split in ("train", "test"):
        os.rename(images / split / "cat", images / split / "x")
        os.rename(images / split / "dog", images / split / "cat")
        os.rename(images / split / "x", images / split / "dog")


def add_class(images):
    (images / "train" / "emu").mkdir()
    (images / "train" / "emu" / "0.jpg").write_bytes(encoded(photo(8)))


CHANGES = {
    add_image: "train_split: .24 examples, .* there, .25 examples",
    remove_image: "train_split: .24 examples, .* there, .23 examples",
    replace_image: "train_split: .24 examples, .* there, .24 examples",
    rename_image: "train_split: .24 examples, .* there, .24 examples",
    remove_test_image: "eval_splits.test: .24 examples, .* there, .23 examples",
    exchange_labels: "train_split: .24 examples, .* there, .24 examples",
    add_class: "emu",
}


@pytest.mark.parametrize("change, message", CHANGES.items(), ids=[c.__name__ for c in CHANGES])
@pytest.mark.parametrize("ended", [False, True])
def test_changed_images_are_refused_and_nothing_is_lost(
    finished, images, run, tmp_path, change, message, ended
):
    run = shutil.copytree(finished / "run", tmp_path / "ended") if ended else run
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    change(images)
    for dry_run in (True, False):
        with pytest.raises(UserError, match=message):
            experiment.train(config_for(images), run, dry_run=dry_run)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_run_resumes_on_changed_images_where_that_is_allowed(images, run, capsys):
    remove_image(images)
    experiment.train(config_for(images), run, allow_changed_data=True)
    assert "resumes on other data than it was started on" in capsys.readouterr().out
    assert last_step(run) == STEPS
    experiment.train(config_for(images), run)  # They are its data from now on.
    assert "other data" not in capsys.readouterr().out


def test_a_run_longer_than_the_changed_images_ends_in_a_sentence(finished, images, tmp_path):
    run = shutil.copytree(finished / "run", tmp_path / "run")
    for i in range(8):
        (images / "train" / "cat" / f"{i}.jpg").unlink()
    results = read_finished_results(run)
    with pytest.raises(UserError, match="has done 6 steps, and config.train.duration is 4 steps"):
        experiment.train(config_for(images), run, allow_changed_data=True)
    assert read_finished_results(run) == results


def test_another_split_is_refused_by_what_it_holds(images, run):
    config = config_for(images)
    config.data.train_split = "train[:50%]"
    with pytest.raises(UserError) as error:
        experiment.train(config, run)
    assert 'config.data.train_split: "24 examples' in str(error.value)
    assert 'config.data.train_split: "train" there, "train[:50%]" now' in str(error.value)
    config.data.train_split = "train[:100%]"
    experiment.train(config, run)


def test_another_data_set_is_refused_before_it_is_fetched(run):
    config = config_for("flowers102")
    (run / "config.json").write_text(
        (run / "config.json").read_text().replace(config_name(run), "cifar10")
    )
    with pytest.raises(UserError, match='config.data.name: "cifar10" there, "flowers102" now'):
        experiment.train(config, run)


def config_name(run):
    return json.loads((run / "config.json").read_text())["data"]["name"]


@pytest.mark.parametrize("command", ["sweep", "compare"])
def test_runs_to_come_are_not_set_beside_finished_ones_on_other_images(
    finished, images, tmp_path, command, capfd
):
    config = config_for(images)
    config.sweep.train_split = None
    member = tmp_path / "several" / ("images/seed=0" if command == "compare" else "seed=0")
    shutil.copytree(finished / "run", member)
    save_config(member, config)

    def plan():
        if command == "compare":
            entries = [Entry("images", experiment, config)]
            run_comparison(entries, ["seed=0,1"], tmp_path / "several", dry_run=True)
        else:
            run_sweep(experiment, config, ["seed=0,1"], tmp_path / "several", dry_run=True)

    plan()
    assert ", 1 of them to train" in capfd.readouterr().out
    exchange_labels(images)
    with pytest.raises(UserError, match="seed=0: --workdir=.*: the data are not those"):
        plan()


def test_a_run_of_an_earlier_version_resumes_without_a_record_and_then_has_one(finished, run):
    record = RunFiles.of(run).data
    record.unlink()
    experiment.train(config_for(finished / "images"), run)
    assert record.read_text() == RunFiles.of(finished / "run").data.read_text()


def test_moved_images_of_a_run_of_an_earlier_version_are_taken_where_that_is_allowed(images, run):
    RunFiles.of(run).data.unlink()
    with pytest.raises(UserError, match="config.data.name: .* there, "):
        experiment.train(config_for(images), run)
    experiment.train(config_for(images), run, allow_changed_data=True)
    experiment.train(config_for(images), run)


def test_a_damaged_record_ends_in_a_sentence(images, run):
    RunFiles.of(run).data.write_text("{")
    with pytest.raises(UserError, match="data.json: this record of the run's data is damaged"):
        experiment.train(config_for(images), run)
