"""Runs that an earlier version has trained are read by this one.

Those in tests/data/runs/ are of the version before its modules moved into folders; `expected.npz`
has logits that it gave for them.
"""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

import mlp_text
import mlp_vision
from tests.conftest import ROOT

RUNS = ROOT / "tests" / "data" / "runs"
SIZES = {  # Of the Mixer.
    "model.hidden_dim": 8,
    "model.num_blocks": 1,
    "model.tokens_mlp_dim": 4,
    "model.channels_mlp_dim": 8,
}


@pytest.fixture
def image_run(tmp_path):
    return shutil.copytree(RUNS / "mixer_digits", tmp_path / "mixer_digits")


def launch(command, *flags):
    done = subprocess.run(
        [sys.executable, f"launch/{command}.py", *map(str, flags)],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_models_give_the_logits_that_they_gave():
    expected = np.load(RUNS / "expected.npz")
    model, params = mlp_vision.load_pretrained(RUNS / "mixer_digits")
    logits = model.apply({"params": params}, expected["images"])
    np.testing.assert_allclose(logits, expected["image_logits"], rtol=1e-5, atol=1e-5)
    model, params = mlp_text.load_pretrained(RUNS / "gmlp_mlm_python", head="masked_lm")
    logits = model.apply({"params": params}, expected["ids"], None, None)
    np.testing.assert_allclose(logits, expected["token_logits"], rtol=1e-5, atol=1e-5)


def test_an_image_run_is_evaluated_exported_and_fine_tuned(image_run, data_dir, tmp_path):
    config = ("--config=configs/mixer_digits.py", f"--config.data.data_dir={data_dir}")
    scored = launch("evaluate", *config, f"--weights={image_run}", "--split=test")
    top1 = json.loads((image_run / "results.json").read_text())["test/top1"]
    assert f"{top1:.2%}".replace("%", " %") in scored, scored
    launch("export", f"--weights={image_run}", f"--output={tmp_path / 'model.npz'}")
    fields = [f"--config.{field}={size}" for field, size in SIZES.items()]
    for weights in (image_run, tmp_path / "model.npz"):
        start = f"--config.init.weights={weights}"
        launch("main", *config, *fields, start, "--dry_run", f"--workdir={tmp_path / 'new'}")


def test_an_image_run_is_resumed(image_run, data_dir):
    config = json.loads((image_run / "config.json").read_text())
    fields = SIZES | {
        "schedule.peak_learning_rate": config["schedule"]["peak_learning_rate"],
        "schedule.warmup": "2 steps",
        "train.duration": "60 steps",
        "evaluation.every": "0 steps",
        "checkpoint.every": "0 steps",
        "data.data_dir": data_dir,
    }
    flags = [f"--config.{field}={value}" for field, value in fields.items()]
    printed = launch("main", "--config=configs/mixer_digits.py", *flags, f"--workdir={image_run}")
    assert "Nothing is left to do: all 60 steps are done" in printed


def test_a_text_run_fills_in_words():
    printed = launch("predict", f"--weights={RUNS / 'gmlp_mlm_python'}", "the [MASK] of a class")
    assert "##d" in printed, printed  # Its first guess.
