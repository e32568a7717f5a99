"""Activations in files are those of the model, row by row."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from mlp_core.errors import UserError
from mlp_vision.data.image_dataset import open_image_dataset
from mlp_vision.tasks.classification import eval_view, view_logits
from mlp_vision.tools.features import extract
from mlp_vision.weights.loading import open_weights
from mlp_vision.weights.pretrained import load_params
from tests.configs.config_files import load
from tests.conftest import ROOT

DIGITS = ROOT / "configs" / "mixer_digits.py"
SPLIT = "test[:37]"  # Batches are of 16.


@pytest.fixture
def config(data_dir):
    config = load(DIGITS, "smoke")
    config.data.data_dir = data_dir
    return config


def test_pooled_features_are_what_the_head_sees(trained_run, config, tmp_path):
    extract(config, str(trained_run), SPLIT, ["pooled"], tmp_path / "f.npz")
    features = np.load(tmp_path / "f.npz")
    weights = open_weights(trained_run)
    spec, params = weights.spec, load_params(weights, weights.spec, "keep")
    rows = open_image_dataset("synthetic", config.data.data_dir).load(SPLIT).gather(np.arange(37))
    logits = view_logits(spec, spec.create_model(), params, eval_view(spec, rows["image"]))
    head = params["head"]
    np.testing.assert_allclose(
        features["pooled"] @ head["kernel"] + head["bias"], logits, rtol=1e-4, atol=1e-4
    )
    np.testing.assert_array_equal(features["label"], rows["label"])
    np.testing.assert_array_equal(features["index"], np.arange(37))


def test_array_record_and_npz_hold_the_same_and_blocks_lead_to_the_pooled(
    trained_run, config, tmp_path
):
    layers = ["block_0", "block_1", "pooled"]
    extract(config, str(trained_run), SPLIT, layers, tmp_path / "f.npz")
    extract(config, str(trained_run), SPLIT, layers, tmp_path / "folder")
    there = np.load(tmp_path / "f.npz")
    rows = tfds.builder_from_directory(tmp_path / "folder").as_data_source("test")
    assert len(rows) == 37
    for i in (0, 36):
        for name in [*layers, "label", "index"]:
            np.testing.assert_array_equal(rows[i][name], there[name][i])
    spec, params = open_weights(trained_run).spec, open_weights(trained_run).read()
    tokens = there["block_1"]  # Of the last block.
    assert tokens.shape == (37, spec.grid**2, spec.hidden_dim)
    centred = tokens - tokens.mean(-1, keepdims=True)
    normed = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
    normed = normed * params["pre_head_layer_norm/scale"] + params["pre_head_layer_norm/bias"]
    np.testing.assert_allclose(normed.mean(1), there["pooled"], atol=1e-4)
    assert np.abs(there["block_0"] - tokens).max() > 0.01


def test_mistakes_are_told_before_anything_is_computed(trained_run, config, tmp_path):
    with pytest.raises(UserError, match="no layer 'block_2'; choose from pooled and block_0 to"):
        extract(config, str(trained_run), SPLIT, ["block_2"], tmp_path / "f.npz")
    (tmp_path / "f.npz").write_text("mine")
    with pytest.raises(UserError, match="something lies there"):
        extract(config, str(trained_run), SPLIT, ["pooled"], tmp_path / "f.npz")
    assert (tmp_path / "f.npz").read_text() == "mine"


def test_the_command_writes_the_file(trained_run, data_dir, tmp_path):
    run = subprocess.run(
        [sys.executable, "launch/features.py", f"--config={DIGITS}:smoke", "--split=train[:20]",
         f"--config.data.data_dir={data_dir}", f"--weights={trained_run}",
         f"--output={tmp_path / 'f.npz'}"],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert np.load(tmp_path / "f.npz")["pooled"].shape == (20, 64)
