"""Fetching and making ahead of time: what was there is told, and a run finds it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mlp_core.errors import MissingError, UserError
from mlp_core.weights import downloads
from mlp_text.data.glue import Sst2
from mlp_text.tasks import experiment
from mlp_text.tasks.preparation import prepare
from mlp_text.tokens.tokenizer import open_tokenizer
from tests.conftest import ROOT
from tests.mlp_core.data.tfds.made_tfrecord import as_tfrecord
from tests.mlp_core.weights.made_hub import hub_environment, serve_hub
from tests.mlp_text.data.made_glue import SST2, made_zip
from tests.mlp_text.tasks.tiny_experiments import tiny_classification, tiny_masked_lm
from tests.mlp_text.weights.golden_bert import golden_folder, with_vocabulary


def told(capsys, start):
    """The lines printed that begin so."""
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith(start)]


def with_flags(config, flags):
    """The experiment as the command line would have it."""
    for flag in flags:
        name, value = flag.removeprefix("--config.").split("=")
        group, field = name.split(".")
        config[group][field] = value
    return config


@pytest.fixture
def sst2(tmp_path, monkeypatch):
    """An experiment on SST-2, whose archive has been fetched to where --directory looks."""
    archive = made_zip(tmp_path / "shared" / "tfds" / "downloads" / "SST-2.zip", SST2)
    monkeypatch.setattr(Sst2, "archives", {"all": archive})
    config = tiny_classification(None)
    config.data.name, config.data.made_files_dir = "glue/sst2", None
    return config


def test_a_vocabulary_and_blocks_are_made_once_and_a_run_finds_them(tmp_path, capsys):
    config = tiny_masked_lm(None)
    config.data.made_files_dir = None
    config.data.eval_splits.more = "pydoc:validation"
    shared = tmp_path / "shared"
    for done in ("made", "tokenised"), ("there already", "there already"):
        assert prepare(config, shared) == [f"--config.data.made_files_dir={shared}"]
        lines = capsys.readouterr().out.splitlines()
        (vocabulary,) = (line for line in lines if line.startswith("Vocabulary"))
        (file,) = (shared / "vocabularies").glob("*.json")
        assert vocabulary.startswith(f"Vocabulary: {done[0]}, 300 tokens, 0.0 MiB in {file}")
        assert f"  Other runs take it with --config.tokenizer.path={file}" in lines
        (corpus,) = (line for line in lines if line.startswith("Corpus"))
        (folder,) = (shared / "corpora").glob("pydoc*")
        # How many depends on the Python, each of which words its language reference differently.
        assert re.match(f"Corpus pydoc:validation: {done[1]}, 7[0-9]{{2}} blocks of 24", corpus)
        assert corpus.endswith(f"MiB in {folder}")
    there = sorted(shared.rglob("*"))
    found = with_flags(config, [f"--config.data.made_files_dir={shared}"])
    prepared = experiment.prepare(found, tmp_path / "run")
    assert prepared.tokenizer == open_tokenizer(file)
    assert sorted(shared.rglob("*")) == there


def test_a_data_set_is_prepared_and_a_run_finds_it(sst2, tmp_path, capsys):
    shared = tmp_path / "shared"
    flags = prepare(sst2, shared)
    assert flags == [
        f"--config.data.data_dir={shared}/tfds",
        f"--config.data.made_files_dir={shared}",
    ]
    (line,) = told(capsys, "Data set")
    assert line.startswith("Data set glue/sst2/2.0.0: prepared, ")
    assert line.endswith(f"MiB in {shared}/tfds/glue/sst2/2.0.0")
    shutil.rmtree(shared / "tfds" / "downloads")
    assert prepare(sst2, shared) == flags
    assert told(capsys, "Data set")[0].startswith("Data set glue/sst2/2.0.0: there already, ")
    there = sorted(shared.rglob("*"))
    experiment.prepare(with_flags(sst2, flags), tmp_path / "run")
    assert sorted(shared.rglob("*")) == there


def test_data_sets_that_corpora_are_of_are_prepared_too(sst2, tmp_path, capsys):
    shared = tmp_path / "shared"
    config = tiny_masked_lm(None)
    config.data.made_files_dir = None
    config.tokenizer.vocab_size = 100
    config.data.train_split = "tfds:glue/sst2:train:sentence+tfds:glue/sst2:test:sentence"
    flags = prepare(config, shared)
    assert f"--config.data.data_dir={shared}/tfds" in flags
    assert len(told(capsys, "Data set glue/sst2/2.0.0: prepared")) == 1
    experiment.prepare(with_flags(config, flags), tmp_path / "run")


def test_corpora_in_tfrecord_are_converted(sst2, tmp_path, capsys):
    builder = Sst2(data_dir=str(tmp_path / "shared" / "tfds"), file_format="array_record")
    builder.download_and_prepare()
    folder = Path(builder.data_path)
    as_tfrecord(folder)
    config = tiny_masked_lm(tmp_path / "made")
    config.tokenizer.vocab_size = 100
    config.data.data_dir = str(tmp_path / "shared" / "tfds")
    config.data.train_split = "tfds:glue/sst2:train:sentence"
    with pytest.raises(UserError, match="tfrecord files; .*launch/prepare.py copies it"):
        experiment.prepare(config, tmp_path / "run")
    for done in ("converted", "there already"):
        prepare(config)
        (line,) = told(capsys, "Data set")
        assert line.startswith(f"Data set glue/sst2/2.0.0: {done},")
        assert line.endswith(f"MiB in {folder}/array_record")


def test_a_vocabulary_that_is_named_or_of_the_weights_is_not_made(tmp_path, capsys):
    bert = with_vocabulary(golden_folder(tmp_path / "bert"))
    config = tiny_classification(None)
    config.data.made_files_dir = None
    config.tokenizer.path = str(bert / "vocab.txt")
    assert prepare(config, tmp_path / "shared") == []
    output = capsys.readouterr().out
    assert f"Vocabulary: there already, 120 tokens, {bert}/vocab.txt\n" in output
    assert "Data set synthetic_text: made when it is read\n" in output

    config.tokenizer.path = None
    config.bert.name, config.bert.weights = "bert", str(bert)
    assert prepare(config, tmp_path / "shared") == []
    output = capsys.readouterr().out
    assert "Vocabulary: there already, 120 tokens, that of the weights\n" in output
    assert f"Weights {bert}: there already, 0.1 MiB in {bert}/model.safetensors\n" in output
    assert not list((tmp_path / "shared").iterdir())


def test_weights_of_the_hub_go_into_the_directory_with_what_they_need(tmp_path):
    """In a process of its own, since the hub's library reads its environment once."""
    bert = with_vocabulary(golden_folder(tmp_path / "bert"))
    files = {file.name: file.read_bytes() for file in bert.iterdir()}
    shared = tmp_path / "shared"
    place = shared / "weights" / "made" / "bert"
    command = [
        sys.executable, "launch/prepare.py", "--config=configs/bert_sst2.py",
        "--config.data.name=synthetic_text", "--config.init.weights=hf://made/bert",
        "--config.data.max_length=20", f"--directory={shared}",
    ]  # fmt: skip
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    with serve_hub("made/bert", files) as address:
        environment |= hub_environment(address, tmp_path / "hf")
        run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert f"Weights hf://made/bert: fetched and copied, 0.1 MiB in {place}" in run.stdout
    assert run.stdout.splitlines()[-1].split() == [
        f"--config.init.weights={place / 'model.safetensors'}"
    ]
    assert {file.name: file.read_bytes() for file in place.iterdir()} == files


def test_everything_missing_is_told_at_once(sst2, tmp_path, monkeypatch):
    shutil.rmtree(tmp_path / "shared")
    monkeypatch.setattr(downloads, "ATTEMPTS", 1)
    sst2.bert.name, sst2.bert.weights = "bert", "http://127.0.0.1:1/model.safetensors"
    with pytest.raises(MissingError) as error:
        prepare(sst2, tmp_path / "shared")
    assert "SST-2.zip" in str(error.value) and sst2.bert.weights in str(error.value)


def test_two_places_for_the_same_are_refused(tmp_path):
    config = tiny_classification(tmp_path)
    with pytest.raises(UserError, match="config.data.made_files_dir is .* besides"):
        prepare(config, tmp_path / "shared")
