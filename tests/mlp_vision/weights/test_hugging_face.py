"""Weights of the Hugging Face hub, from a server on this machine that speaks as the hub does."""

import json
import os
import subprocess
import sys

import pytest

from mlp_core.weights.files import write_weight_file
from mlp_vision.models.weight_layouts import to_timm
from mlp_vision.weights.loading import open_weights
from tests.conftest import ROOT
from tests.mlp_core.weights.made_hub import hub_environment, serve_hub
from tests.mlp_vision.weights.made_weights import tiny_arrays

REPOSITORY = "timm/mixer_tiny"
CONFIG = {"mean": [0.0] * 3, "std": [1.0] * 3, "interpolation": "bilinear", "crop_pct": 0.875}


@pytest.fixture
def hub(tmp_path):
    """The address of a hub with one repository."""
    write_weight_file(tmp_path / "m.safetensors", to_timm("MixerBlock", tiny_arrays()))
    files = {
        "model.safetensors": (tmp_path / "m.safetensors").read_bytes(),
        "config.json": json.dumps({"pretrained_cfg": CONFIG}).encode(),
    }
    with serve_hub(REPOSITORY, files) as address:
        yield address


def export(hub, tmp_path, name, output):
    environment = os.environ | hub_environment(hub, tmp_path / "hf") | {"JAX_PLATFORMS": "cpu"}
    return subprocess.run(
        [sys.executable, "launch/export.py", f"--weights=hf://{name}", f"--output={output}"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_timm_weights_come_with_their_preprocessing_and_stay(hub, tmp_path):
    output = tmp_path / "out.safetensors"
    run = export(hub, tmp_path, REPOSITORY, output)
    assert run.returncode == 0, run.stderr
    spec = open_weights(output).spec
    assert (spec.value_range, spec.gelu) == ((0.0, 1.0), "erf")
    again = export("http://127.0.0.1:1", tmp_path, REPOSITORY, tmp_path / "again.safetensors")
    assert again.returncode == 0, again.stderr
    assert open_weights(tmp_path / "again.safetensors").spec == spec


def test_what_the_hub_does_not_have_is_told_in_a_sentence(hub, tmp_path):
    run = export(hub, tmp_path, "timm/none", tmp_path / "out.npz")
    assert run.returncode == 2 and "Traceback" not in run.stderr
    assert "hf://timm/none: model.safetensors cannot be fetched" in run.stderr
    assert "elsewhere, and name their folder instead" in run.stderr
