"""Weights of every form score alike, with the numerics that belong to them."""

import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
from orbax.checkpoint import v1 as ocp
from PIL import Image

from mlp_core.errors import UserError
from mlp_core.run_folder.metrics import read_metrics
from mlp_core.weights.files import write_weight_file
from mlp_vision.data import image_folder
from mlp_vision.tasks import experiment
from mlp_vision.tools.export import export
from mlp_vision.tools.scoring import score
from mlp_vision.weights.loading import open_weights
from tests.configs.config_files import load
from tests.conftest import ROOT

DIGITS = ROOT / "configs" / "mixer_digits.py"


@pytest.fixture
def config(data_dir):
    config = load(DIGITS, "smoke")
    config.data.data_dir = data_dir
    return config


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_a_run_and_its_exports_score_what_training_told(trained_run, config, tmp_path, suffix):
    told = read_metrics(trained_run / "metrics.jsonl")[-1]
    scores = score(config, str(trained_run), {}, {"test": "test"})
    for name in ("test/top1", "test/top5", "test/loss"):
        assert scores[name] == pytest.approx(told[name], rel=1e-5)
    assert scores["test/top1"] > 0.1
    weights = open_weights(trained_run)
    export(weights, weights.spec, tmp_path / f"model.{suffix}")
    assert score(config, str(tmp_path / f"model.{suffix}"), {}, {"test": "test"}) == scores


def test_numerics_of_the_weights_hold_unless_a_field_is_set(trained_run, config, capsys):
    scores = score(config, str(trained_run), {}, {"test": "test"})
    assert "preset resmall_crop at 32 x 32 pixels, values 0 to 1" in capsys.readouterr().out
    other = score(config, str(trained_run), {"data.eval_preset": "squash"}, {"test": "test"})
    assert "preset squash" in capsys.readouterr().out
    assert other["test/loss"] != scores["test/loss"]


def test_another_image_size_is_scored_at_and_announced(trained_run, config, capsys):
    score(config, str(trained_run), {"data.image_size": 64}, {"test": "test[:20]"})
    out = capsys.readouterr().out
    assert "32 to 64 pixels by the paper's construction" in out and "at 64 x 64 pixels" in out


def test_every_example_counts_once_whatever_the_batch(trained_run, config):
    config.evaluation.global_batch_size = 24
    uneven = score(config, str(trained_run), {}, {"test": "test[:90]"})
    config.evaluation.global_batch_size = 80
    even = score(config, str(trained_run), {}, {"test": "test[:90]"})
    assert uneven["test/top1"] == even["test/top1"]
    assert uneven["test/loss"] == pytest.approx(even["test/loss"], rel=1e-5)


def test_weights_for_other_classes_are_refused(trained_run, config, tmp_path):
    weights = open_weights(trained_run)
    arrays = weights.read()
    arrays |= {"head/kernel": arrays["head/kernel"][:, :7], "head/bias": np.zeros(7, np.float32)}
    write_weight_file(tmp_path / "seven.npz", arrays)
    with pytest.raises(UserError, match="its head is for 7 classes, synthetic has 10"):
        score(config, str(tmp_path / "seven.npz"), {}, {"test": "test"})


def test_an_unknown_split_is_refused(trained_run, config):
    with pytest.raises(UserError, match="split: synthetic has no split 'nope'"):
        score(config, str(trained_run), {}, {"nope": "nope"})


def test_the_command_tells_score_preset_and_splits(trained_run, data_dir):
    args = [f"--config={DIGITS}:smoke", f"--config.data.data_dir={data_dir}", "--split=test[:50]",
            f"--weights={trained_run}", "--config.data.eval_preset=squash"]  # fmt: skip
    run = subprocess.run(
        [sys.executable, "launch/evaluate.py", *args],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "test[:50], 50 pictures): top-1" in run.stdout and "preset squash" in run.stdout
    run = subprocess.run(
        [sys.executable, "launch/evaluate.py", args[0]],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert run.returncode == 2 and "runs/mixer_digits_smoke" in run.stderr
    assert "Traceback" not in run.stderr


# The process hangs in the reading of its first batch.
WAITS_IN_VAIN = """
import sys, time
from mlp_core.data.sources import ArraySource
from mlp_vision.tools import features
from mlp_vision.tools import scoring
from mlp_vision.tools.inference import Inference
from tests.configs.config_files import load
from tests.mlp_vision.tools.test_scoring import DIGITS

class NeverComes(ArraySource):
    def gather(self, indices, draws=None):
        time.sleep(600)

command, data_dir, weights, output = sys.argv[1:]
config = load(DIGITS, "smoke")
config.data.data_dir, config.train.stall_limit = data_dir, 0.05
Inference.source = lambda self, split: NeverComes({"label": [0, 1]})
if command == "score":
    scoring.score(config, weights, {}, {"test": "test"})
else:
    features.extract(config, weights, "test", ["pooled"], features.Path(output))
"""


@pytest.mark.parametrize("command", ["score", "features"])
def test_data_that_do_not_come_end_the_command(trained_run, data_dir, tmp_path, command):
    run = subprocess.run(
        [sys.executable, "-c", WAITS_IN_VAIN, command, data_dir, trained_run, tmp_path / "f.npz"],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert run.returncode == 124, run.stderr
    assert "error: nothing has moved for 0.05 minutes" in run.stderr
    assert "of test" in run.stderr and "Traceback" not in run.stderr


def numbered_folder(root, classes=range(12), name="{}".format, pictures=2):
    """Class folders whose pictures have a shade each."""
    for split in ("train", "test"):
        for label in classes:
            folder = root / split / name(label)
            folder.mkdir(parents=True)
            for i in range(pictures):
                shade = (label % 3 * 127 + i, label // 3 % 2 * 250, label // 6 * 250)
                Image.new("RGB", (16, 16), shade).save(folder / f"{label}_{i}.png")
    return root


def shades_config(root, **changes):
    config = load(DIGITS)
    fields = {
        "data.name": str(root), "data.image_size": 16, "data.eval_preset": "squash",
        "model.patch_size": 8, "model.num_blocks": 1, "train.duration": "4 steps",
        "train.global_batch_size": 24, "evaluation.global_batch_size": 24,
        "evaluation.every": "4 steps", "checkpoint.every": "2 steps", "schedule.warmup": "1 steps",
    }  # fmt: skip
    config.update_from_flattened_dict(fields | changes)
    return config


@pytest.fixture(scope="module")
def shades_run(tmp_path_factory):
    """A run that has learned the shades of twelve classes with names in order: 00 to 11."""
    root = tmp_path_factory.mktemp("shades")
    folder = numbered_folder(root / "data", name="{:02d}".format)
    fields = ("train.duration", "checkpoint.every", "evaluation.every")
    config = shades_config(folder, **dict.fromkeys(fields, "150 steps"))
    results = experiment.train(config, root / "run")
    assert results["test/top1"] == 1
    return root / "run"


def test_numbered_folders_are_paired_with_unnamed_weights_in_the_order_of_numbers(
    shades_run, tmp_path, capsys
):
    file = tmp_path / "unnamed.npz"
    write_weight_file(file, open_weights(shades_run).read())
    config = shades_config(numbered_folder(tmp_path / "data"))
    capsys.readouterr()
    scores = score(config, str(file), {"data.eval_preset": "squash"}, {"test": "test"})
    assert scores["test/top1"] == 1
    out = capsys.readouterr().out
    assert out.count("its 12 outputs are, in this order, 0, 1, 2, 3, ..., 11") == 1
    config.init.weights, config.init.head = str(file), "keep"
    config.data.eval_preset = "squash"
    experiment.train(config, tmp_path / "run", dry_run=True)
    out = capsys.readouterr().out
    assert out.count("its 12 outputs are, in this order, 0, 1, 2, 3, ..., 11") == 1


def test_a_run_is_evaluated_on_some_of_its_classes_by_name(shades_run, tmp_path, capsys):
    config = shades_config(numbered_folder(tmp_path / "data", (9, 3, 7), "{:02d}".format))
    assert score(config, str(shades_run), {}, {"test": "test"})["test/top1"] == 1
    assert "has 3 of the 12 classes of" in capsys.readouterr().out
    for split in ("train", "test"):
        (tmp_path / "data" / split / "03").rename(tmp_path / "data" / split / "3")
    with pytest.raises(UserError, match="'3' is not among its 12, 00, 01, 02, 03, ..., 11"):
        score(config, str(shades_run), {}, {"test": "test"})


def test_a_run_with_its_classes_in_another_order_is_evaluated_and_resumed_by_name(
    tmp_path, monkeypatch
):
    folder = numbered_folder(tmp_path / "data")
    config = shades_config(folder)
    whole, half = tmp_path / "whole", tmp_path / "half"
    with monkeypatch.context() as patch:
        patch.setattr(image_folder, "in_class_order", sorted)  # As before numbers had an order.
        experiment.train(config, whole)
        scores = score(config, str(whole), {}, {"test": "test"})
        shutil.copytree(whole, half)
        shutil.rmtree(half / "checkpoints" / "4")
        (half / "results.json").unlink()
    assert open_weights(whole).spec.class_names[:3] == ("0", "1", "10")
    assert score(config, str(whole), {}, {"test": "test"}) == scores
    experiment.train(config, half)
    assert open_weights(half).spec.class_names[:3] == ("0", "1", "10")
    one, other = (ocp.load(run / "checkpoints" / "4") for run in (whole, half))
    jax.tree.map(np.testing.assert_array_equal, one, other)
    tuned = shades_config(folder, **{"init.weights": str(whole), "init.head": "keep"})
    experiment.train(tuned, tmp_path / "tuned", dry_run=True)
    shutil.rmtree(half / "checkpoints" / "4")
    for split in ("train", "test"):
        shutil.rmtree(folder / split / "11")
    with pytest.raises(UserError, match="the run has 12 classes, of which .* has 11; '11' is miss"):
        experiment.train(config, half)


def test_a_class_that_is_not_utf_8_is_trained_on_scored_and_exported(tmp_path):
    names = {0: "caf\udce9", 1: "\udcff\n", 2: "tea"}  # As Python spells bytes that are not UTF-8.
    folder = numbered_folder(tmp_path / "data", range(3), names.get, pictures=8)
    config = shades_config(folder)
    results = experiment.train(config, tmp_path / "run")
    weights = open_weights(tmp_path / "run")
    assert weights.spec.class_names == ("\\xff\n", r"caf\xe9", "tea")
    for suffix in ("npz", "safetensors", "stablehlo"):
        export(weights, weights.spec, tmp_path / f"model.{suffix}")
    for source in ("run", "model.npz", "model.safetensors"):
        scores = score(config, str(tmp_path / source), {}, {"test": "test"})
        assert scores["test/loss"] == pytest.approx(results["test/loss"], rel=1e-4)
