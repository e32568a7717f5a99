"""Pictures of the user's own: the right classes, and bad files named."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from mlp_core.errors import UserError
from mlp_vision.tasks.classification import probabilities, view_logits
from mlp_vision.tools.prediction import BATCH, find_pictures, predict
from mlp_vision.weights.label_names import label_names
from mlp_vision.weights.loading import open_weights
from mlp_vision.weights.pretrained import load_params
from tests.conftest import ROOT


@pytest.fixture
def loaded(trained_run):
    weights = open_weights(trained_run)
    return weights.spec, load_params(weights, weights.spec, "keep")


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(BATCH + 3):
        pixels = rng.integers(0, 256, (40, 50, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02d}.png")
    return folder


def test_each_picture_gets_its_own_likeliest_classes(loaded, pictures):
    spec, params = loaded
    predictions = list(predict(spec, params, find_pictures([str(pictures)]), top=3))
    assert [p.path.name for p in predictions] == [f"{i:02d}.png" for i in range(BATCH + 3)]
    last = predictions[-1]
    with Image.open(last.path) as image:
        # The shorter side, 40 pixels, to 37; then the middle 32 x 32.
        view = image.resize((46, 37), Image.Resampling.BILINEAR).crop((7, 2, 39, 34))
    logits = view_logits(spec, spec.create_model(), params, np.asarray(view)[None])
    shares = np.asarray(probabilities(spec, logits))[0]
    assert [label for label, _ in last.best] == list(np.argsort(-shares)[:3])
    np.testing.assert_allclose([share for _, share in last.best], sorted(shares)[:-4:-1], rtol=2e-3)


def test_weights_too_large_for_the_arithmetic_give_no_answer(loaded, pictures):
    spec, params = loaded
    kernel = np.full_like(params["head"]["kernel"], 3e38)
    params = params | {"head": params["head"] | {"kernel": kernel}}
    with pytest.raises(UserError, match="the model computes NaN or infinity"):
        list(predict(spec, params, find_pictures([str(pictures / "00.png")]), top=3))


def test_sigmoid_probabilities_stand_each_for_itself(loaded):
    spec, _ = loaded
    logits = np.array([[0.0, 0.0, 2.0]])
    np.testing.assert_allclose(probabilities(spec, logits).sum(), 1, rtol=1e-6)
    sigmoid = probabilities(spec.adapted(output="sigmoid"), logits)
    np.testing.assert_allclose(sigmoid, [[0.5, 0.5, 1 / (1 + np.exp(-2))]], rtol=1e-6)


def test_folders_are_searched_and_what_is_not_there_is_told(pictures, tmp_path):
    (pictures / "deep").mkdir()
    Image.new("L", (9, 9)).save(pictures / "deep" / "grey.JPG", "jpeg")
    (pictures / "notes.txt").write_text("none")
    for name in (".hidden", "folder.png"):
        (pictures / name).mkdir()
    for name in (".hidden/1.png", ".2.png"):
        (pictures / name).touch()
    found = find_pictures([str(pictures), str(pictures / "00.png")])
    assert len(found) == BATCH + 3 + 2 and found[-1].name == "00.png"
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "below").symlink_to(pictures / "deep")
    assert find_pictures([str(tmp_path / "link")]) == [tmp_path / "link" / "below" / "grey.JPG"]
    with pytest.raises(UserError, match="no such file"):
        find_pictures(["nowhere.jpg"])
    with pytest.raises(UserError, match="name pictures"):
        find_pictures([])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no picture .* in this folder"):
        find_pictures([str(tmp_path / "empty")])


def test_names_are_the_models_own_else_imagenets_else_numbers(
    loaded, tmp_path, monkeypatch, capsys
):
    spec, _ = loaded
    own = spec.adapted(class_names=("cat", "dog"))
    assert label_names(own)[:3] == ["cat", "dog", "class 2"]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    imagenet = spec.adapted(class_names=(), num_classes=1000)
    assert label_names(imagenet)[7] == "class 7"
    labels = tmp_path / "all-mlp" / "labels"
    labels.mkdir(parents=True, exist_ok=True)
    (labels / "ilsvrc2012_wordnet_lemmas.txt").write_text(
        "\n".join(f"thing_{i}, stuff" for i in range(1000))
    )
    assert label_names(imagenet)[7] == "thing 7, stuff"
    assert "assumes that their 1,000 outputs are ImageNet's classes" in capsys.readouterr().out


def test_the_command_names_bad_files_and_goes_on(trained_run, pictures):
    (pictures / "empty.jpg").write_bytes(b"")
    (pictures / "page.jpg").write_text("<!DOCTYPE html><html>404</html>")
    run = subprocess.run(
        [sys.executable, "launch/predict.py", f"--weights={trained_run}", "--top=2", str(pictures)],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert run.returncode == 2 and "Traceback" not in run.stderr
    assert "empty.jpg: an empty file" in run.stderr
    assert "page.jpg: a web page, not a picture" in run.stderr
    assert f"2 of {BATCH + 5} pictures cannot be read" in run.stderr
    assert run.stdout.count(" %  ") == 2 * (BATCH + 3)


def test_pictures_that_do_not_come_end_the_process(trained_run, tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "late.png")
    waits_in_vain = f"""
import time
from mlp_vision.tools import prediction
from mlp_vision.weights.pretrained import load_params
from mlp_vision.weights.loading import open_weights
weights = open_weights(prediction.Path({str(trained_run)!r}))
prediction.open_picture = lambda *args: time.sleep(600)
pictures = [prediction.Path({str(tmp_path / "late.png")!r})]
params = load_params(weights, weights.spec, "keep")
list(prediction.predict(weights.spec, params, pictures, 1, stall_limit=0.05))
"""
    run = subprocess.run(
        [sys.executable, "-c", waits_in_vain], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 124, run.stderr
    assert "error: nothing has moved for 0.05 minutes" in run.stderr
    assert "late.png" in run.stderr and "Traceback" not in run.stderr
