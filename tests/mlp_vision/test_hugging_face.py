"""Weights of the Hugging Face hub, from a server on this machine that speaks as the hub does."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mlp_core.weight_files import write_weight_file
from mlp_vision.weight_layouts import to_timm
from mlp_vision.weights import open_weights
from tests.conftest import ROOT
from tests.mlp_vision.made_weights import tiny_arrays

REPOSITORY = "timm/mixer_tiny"
CONFIG = {"mean": [0.0] * 3, "std": [1.0] * 3, "interpolation": "bilinear", "crop_pct": 0.875}


@pytest.fixture
def hub(tmp_path):
    """The address of a hub with one repository."""
    write_weight_file(tmp_path / "m.safetensors", to_timm("MixerBlock", tiny_arrays()))
    files = {
        f"/{REPOSITORY}/resolve/main/model.safetensors": (tmp_path / "m.safetensors").read_bytes(),
        f"/{REPOSITORY}/resolve/main/config.json": json.dumps({"pretrained_cfg": CONFIG}).encode(),
    }

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self):
            content = files.get(self.path)
            self.send_response(404 if content is None else 200)
            if content is None:
                self.send_header("X-Error-Code", "RepoNotFound")
                content = b""
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            return content

        def do_GET(self):
            self.wfile.write(self.do_HEAD())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def export(hub, tmp_path, name, output):
    environment = os.environ | {
        "HF_ENDPOINT": hub, "HF_HOME": str(tmp_path / "hf"), "no_proxy": "127.0.0.1",
        "JAX_PLATFORMS": "cpu",
    }  # fmt: skip
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
    assert "name the folder of both instead" in run.stderr
