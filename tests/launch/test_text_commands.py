"""Commands that serve text and images alike: which package, and a sentence for a wrong flag."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from launch.experiments import are_of_text
from mlp_core.run_folder.run_directory import RunFiles
from mlp_text.tokens.tokenizer import open_tokenizer
from tests.conftest import ROOT
from tests.mlp_core.weights.made_hub import hub_environment, serve_hub
from tests.mlp_text.weights.golden_bert import golden_folder, with_vocabulary

DATA = ROOT / "tests" / "data"


def predict(*args, **environment):
    return subprocess.run(
        [sys.executable, "launch/predict.py", *args],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu"} | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_runs_are_told_by_their_task(text_run, mlm_run, tmp_path):
    (checkpoint,) = (path for path in RunFiles.of(mlm_run).checkpoints.iterdir() if path.is_dir())
    assert are_of_text(str(text_run)) and are_of_text(str(checkpoint))
    shutil.copytree(text_run, tmp_path / "run")
    config = RunFiles.of(tmp_path / "run").config
    config.write_text(config.read_text().replace("text_classification", "image_classification"))
    assert not are_of_text(str(tmp_path / "run"))
    config.unlink()
    assert not are_of_text(str(tmp_path / "run"))


def test_files_are_told_by_their_names(tmp_path):
    bert = golden_folder(tmp_path / "bert")
    assert are_of_text(str(bert)) and are_of_text(str(bert / "model.safetensors"))
    assert are_of_text(str(DATA / "bert_hf_legacy_names.safetensors"))
    (bert / "model.safetensors").unlink()
    (bert / "config.json").write_text('{"model_type": "bert"}')
    assert are_of_text(str(bert))  # Opening it tells what it lacks.
    for name in ("mixer_timm.safetensors", "gmlp_timm.safetensors", "mixer_official.npz"):
        assert not are_of_text(str(DATA / name))


@pytest.mark.parametrize("source", ["imagenet21k/Mixer-B_16", "https://host/m.npz", "nowhere"])
def test_what_is_not_here_counts_as_weights_of_images(source):
    assert not are_of_text(source)


@pytest.mark.parametrize("vocabulary", ["vocab.txt", "tokenizer.json"])
def test_a_bert_of_the_hub_fills_in(vocabulary, tmp_path):
    bert = with_vocabulary(golden_folder(tmp_path / "bert", model_type="bert"))
    if vocabulary == "tokenizer.json":
        (bert / vocabulary).write_text(open_tokenizer(bert).to_json())
        (bert / "vocab.txt").unlink()
    files = {file.name: file.read_bytes() for file in bert.iterdir()}
    with serve_hub("made/bert", files) as address:
        environment = hub_environment(address, tmp_path / "hf")
        run = predict("--weights=hf://made/bert", "--top=2", "the [MASK]", **environment)
    assert run.returncode == 0, run.stderr
    weights, text, *words = run.stdout.splitlines()
    assert weights.endswith("(published BERT)") and text == "the [MASK]"
    assert len(words) == 2 and all(" %  " in word for word in words)


def test_a_flag_for_pictures_is_refused_in_a_sentence(text_run):
    run = predict(f"--weights={text_run}", "--image_size=32", "bada")
    assert run.returncode == 2 and "Traceback" not in run.stderr
    assert f"--image_size: {text_run} is a model of text" in run.stderr


def test_every_line_gets_its_row(text_run, tmp_path):
    lines = [b"bada", b"", b"caf\xe9", b"bada " * 100, b"a\tb", b"bada"]
    (tmp_path / "in.txt").write_bytes(b"\n".join(lines) + b"\n")
    output = tmp_path / "out.jsonl"
    run = predict(f"--weights={text_run}", f"--input={tmp_path / 'in.txt'}", f"--output={output}")
    assert run.returncode == 2 and "Traceback" not in run.stderr
    assert "Note: 1 of 6 texts are longer than the 16 tokens that the model reads" in run.stderr
    assert run.stderr.endswith("error: 3 of 6 texts have no answer; the reasons are above.\n")
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row["number"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["answers"] is None for row in rows] == [False, True, True, False, True, False]
    assert [bool(row["problem"]) for row in rows] == [False, True, True, False, True, False]
    assert [row["cut"] for row in rows] == [False, False, False, True, False, False]
    assert rows[0]["answers"] == rows[5]["answers"]
    assert run.stdout.count("  no answer: ") == 3 and run.stdout.count(" %  ") == 6
