import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mlp_core.weights import downloads
from mlp_core.weights import sources as weight_sources
from mlp_core.weights.downloads import DownloadError
from mlp_core.weights.files import write_weight_file
from mlp_core.weights.sources import fetch_from_hub, fetch_weight_file, path_on_this_machine
from tests.conftest import ROOT
from tests.mlp_core.weights.made_hub import hub_environment, serve_hub

BERT = {name: name.encode() for name in ("model.safetensors", "config.json", "vocab.txt")}
FETCH = """
import sys
from mlp_core.weights.sources import fetch_from_hub
print(fetch_from_hub(sys.argv[1], ["model.safetensors", sys.argv[2]], ["config.json", "more.json"]))
"""


def fetch(address, home, *args):
    return subprocess.run(
        [sys.executable, "-c", FETCH, *args],
        cwd=ROOT, env=os.environ | hub_environment(address, home), capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip


def test_the_files_of_a_model_come_into_one_folder_and_stay(tmp_path):
    with serve_hub("google-bert/tiny", BERT) as address:
        run = fetch(address, tmp_path, "hf://google-bert/tiny", "vocab.txt")
        assert run.returncode == 0, run.stderr
        folder = Path(run.stdout.strip())
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == BERT
    again = fetch("http://127.0.0.1:1", tmp_path, "hf://google-bert/tiny", "vocab.txt")
    assert again.stdout == run.stdout


def test_a_file_that_the_model_has_to_have_is_missed(tmp_path):
    with serve_hub("google-bert/tiny", BERT) as address:
        run = fetch(address, tmp_path, "hf://google-bert/tiny", "spiece.model")
    assert "DownloadError: hf://google-bert/tiny: spiece.model cannot be fetched" in run.stderr
    assert "Fetch model.safetensors, spiece.model, config.json" in run.stderr


@pytest.mark.parametrize("name", ["config.json", "vocab.txt"])
def test_a_file_of_the_hub_is_absent_only_if_the_hub_says_so(tmp_path, name):
    fetch_all = FETCH.replace('["config.json", "more.json"]', '["config.json"], ["more.json"]')
    command = [sys.executable, "-c", fetch_all, "hf://made/tiny", "vocab.txt"]
    with serve_hub("made/tiny", BERT, broken=[name]) as address:
        run = subprocess.run(
            command, cwd=ROOT, env=os.environ | hub_environment(address, tmp_path),
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
    assert f"DownloadError: hf://made/tiny: {name} cannot be fetched" in run.stderr, run.stdout


def test_the_first_file_of_several_kinds_is_fetched(tmp_path):
    fetch_first = FETCH.replace('["config.json", "more.json"]', "[], ['a.json', *sys.argv[3:]]")
    command = [sys.executable, "-c", fetch_first, "hf://made/tiny", "config.json", "vocab.txt", "b"]
    for address in (None, "http://127.0.0.1:1"):
        with serve_hub("made/tiny", BERT) as served:
            run = subprocess.run(
                command, cwd=ROOT, env=os.environ | hub_environment(address or served, tmp_path),
                capture_output=True, text=True, timeout=120,
            )  # fmt: skip
        assert run.returncode == 0, run.stderr
        assert {path.name for path in Path(run.stdout.strip()).iterdir()} == {*BERT}


@pytest.mark.parametrize("name", ["no name/x", "a/b/c", "../x"])
def test_what_can_be_no_model_of_the_hub_is_told(name):
    with pytest.raises(DownloadError, match="model.safetensors cannot be fetched .Repo id must"):
        fetch_from_hub(f"hf://{name}", ["model.safetensors"], ["config.json"])


def test_a_weight_file_is_fetched_with_what_lies_beside_it(mirror, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    address, folder = mirror
    write_weight_file(folder / "model.safetensors", {"a": np.ones(2, np.float32)})
    (folder / "vocab.txt").write_text("[PAD]\n")
    path = fetch_weight_file(f"{address}/model.safetensors", ["vocab.txt", "config.json"])
    assert {p.name for p in path.parent.iterdir()} == {"model.safetensors", "vocab.txt"}


def test_revisions_named_by_a_query_have_their_own_files_beside_them(mirror, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    address, folder = mirror
    write_weight_file(folder / "model.safetensors", {"a": np.ones(2, np.float32)})
    asked, fetched = [], downloads.fetch
    monkeypatch.setattr(
        weight_sources, "fetch", lambda file, place: asked.append(file.url) or fetched(file, place)
    )
    for revision in ("1", "2"):
        (folder / "config.json").write_text(revision)
        url = f"{address}/model.safetensors?token=word&rev={revision}"
        path = fetch_weight_file(url, ["config.json"])
        assert path.name == "model.safetensors"
        assert path.with_name("config.json").read_text() == revision
        assert asked[-1] == f"{address}/config.json?token=word&rev={revision}"


def test_a_file_beside_weights_is_absent_only_if_the_server_says_so(mirror, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    address, folder = mirror
    url = f"{address}/model.safetensors"
    write_weight_file(folder / "model.safetensors", {"a": np.ones(2, np.float32)})
    fetched = downloads.fetch

    def failing(file, destination):
        if file.url.endswith("config.json"):
            raise DownloadError(f"{file.url}: cannot be fetched (HTTP 503 Unavailable).")
        return fetched(file, destination)

    with monkeypatch.context() as patched:
        patched.setattr(weight_sources, "fetch", failing)
        with pytest.raises(DownloadError, match="config.json: cannot be fetched .HTTP 503"):
            fetch_weight_file(url, ["config.json"])
    path = fetch_weight_file(url, ["config.json"], ["vocab.txt", "tokenizer.json"])
    with monkeypatch.context() as patched:  # Its absence is known now.
        patched.setattr(weight_sources, "fetch", failing)
        assert fetch_weight_file(url, ["config.json"]) == path


@pytest.mark.parametrize("name", ["", "no/such/file", "x" * 5000])
def test_names_of_nothing_are_told(name):
    assert path_on_this_machine(name) is None
