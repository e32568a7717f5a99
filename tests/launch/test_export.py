"""Exported models are the trained ones, in every format."""

import json
import subprocess
import sys

import jax
import jaxlib
import numpy as np
import pytest

from mlp_core.weights.files import open_weight_file, write_weight_file
from mlp_vision.models.weight_layouts import to_timm
from mlp_vision.tasks.classification import eval_view, probabilities, view_logits
from mlp_vision.weights.loading import open_weights
from mlp_vision.weights.pretrained import load_params
from tests.conftest import ROOT
from tests.mlp_vision.weights.made_weights import tiny_arrays, write_tiny


def export(*args):
    return subprocess.run(
        [sys.executable, "launch/export.py", *map(str, args)],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def pictures(height, width, batch=3):
    return np.random.default_rng(0).integers(0, 256, (batch, height, width, 3), np.uint8)


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_weight_files_of_a_run_hold_its_arrays_and_its_numerics(trained_run, tmp_path, suffix):
    output = tmp_path / f"model.{suffix}"
    result = export(f"--weights={trained_run}", f"--output={output}")
    assert result.returncode == 0, result.stderr
    trained, exported = open_weights(trained_run), open_weights(output)
    assert exported.spec == trained.spec and trained.spec.value_range == (0.0, 1.0)
    trained, exported = trained.read(), exported.read()
    assert trained.keys() == exported.keys()
    for name, array in trained.items():
        np.testing.assert_array_equal(exported[name], array)
    if suffix == "safetensors":
        assert "act_layer=GELUTanh" in result.stdout


@pytest.mark.slow
@pytest.mark.parametrize("height, width", [(32, 32), (50, 37)])
def test_stablehlo_takes_pictures_of_any_size_and_gives_the_models_answer(
    trained_run, tmp_path, height, width
):
    output = tmp_path / "model.stablehlo"
    assert export(f"--weights={trained_run}", f"--output={output}").returncode == 0
    program = jax.export.deserialize(bytearray(output.read_bytes()))
    described = json.loads((tmp_path / "model.stablehlo.json").read_text())
    assert described.pop("exported_with") == {
        "jax": jax.__version__,
        "jaxlib": jaxlib.__version__,
        "calling_convention": program.calling_convention_version,
    }
    images = pictures(height, width)
    answer = program.call(images)
    weights = open_weights(trained_run)
    spec = weights.spec
    params = load_params(weights, spec, "keep")
    logits = view_logits(spec, spec.create_model(), params, eval_view(spec, images))
    np.testing.assert_allclose(answer["logits"], logits, atol=1e-5)
    np.testing.assert_allclose(answer["probabilities"], probabilities(spec, logits), atol=1e-6)
    np.testing.assert_allclose(answer["probabilities"].sum(-1), 1, atol=1e-5)
    assert described == json.loads(spec.to_json())


def test_published_and_timm_files_go_round_without_a_change(tmp_path):
    arrays = tiny_arrays()
    write_tiny(tmp_path / "google.npz")
    write_weight_file(tmp_path / "timm.safetensors", to_timm("MixerBlock", arrays))
    assert export(
        f"--weights={tmp_path / 'google.npz'}", f"--output={tmp_path / 'a.safetensors'}"
    ).returncode == 0  # fmt: skip
    assert export(
        f"--weights={tmp_path / 'a.safetensors'}", f"--output={tmp_path / 'b.npz'}"
    ).returncode == 0  # fmt: skip
    again = open_weight_file(tmp_path / "b.npz").read()
    assert again.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(again[name], array)
    assert open_weights(tmp_path / "b.npz").spec == open_weights(tmp_path / "google.npz").spec
    there = open_weight_file(tmp_path / "a.safetensors").read()
    for name, array in open_weight_file(tmp_path / "timm.safetensors").read().items():
        np.testing.assert_array_equal(there[name], array)


@pytest.mark.parametrize("name", ["there.npz", "model.stablehlo"])
def test_nothing_that_lies_there_is_lost(trained_run, tmp_path, name):
    kept = tmp_path / ("there.npz" if name == "there.npz" else "model.stablehlo.json")
    kept.write_text("mine")
    result = export(f"--weights={trained_run}", f"--output={tmp_path / name}")
    assert result.returncode == 2 and "something lies there; name another" in result.stderr
    assert kept.read_text() == "mine"


@pytest.mark.parametrize(
    "args, message",
    [
        ([], "needs --weights=... and --output=..."),
        (["--weights=nope", "--output=x.npz"], "'nope' is neither a file"),
        (
            ["--weights=nope", "--output=x.onnx"],
            "a file that ends in .npz, .safetensors or .stable",
        ),
        (["--weights=tests/data/mixer_official.npz", "--output=setup.py/x.npz"], "be written"),
    ],
)
def test_mistakes_are_told_in_a_sentence(args, message):
    result = export(*args)
    assert result.returncode == 2 and message in result.stderr
    assert "Traceback" not in result.stderr
