"""A run resumes on the text that it was started on, wherever it lies, and on no other."""

import os
import shutil

import pytest

from mlp_core.errors import UserError
from mlp_core.run_folder.run_directory import RunFiles
from mlp_text.data.synthetic import WORDS
from mlp_text.tasks import experiment
from mlp_text.tasks.made_vocabulary import fingerprint
from tests.mlp_text.tasks.test_experiment import TINY, made_config

SENTENCES = [f"{WORDS[i]} {WORDS[i + 7]} {WORDS[2 * i]}" for i in range(40)]


def write_tables(folder):
    folder.mkdir()
    for name, rows in (("train", SENTENCES), ("validation", SENTENCES[:8])):
        lines = [f"{text}\t{i % 2}" for i, text in enumerate(rows)]
        (folder / f"{name}.tsv").write_text("\n".join(["sentence\tlabel", *lines, ""]))
    (folder / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, ""])
    )
    return folder


def classification(folder):
    config = made_config("classification", "gmlp", **TINY)
    config.data.name, config.data.max_length = str(folder), 8
    config.data.train_split, config.data.eval_splits = "train", {"validation": "validation"}
    config.tokenizer.path = str(folder / "vocab.txt")
    config.data.made_files_dir = str(folder / "made")
    return config


def masked_lm(folder):
    config = made_config("masked_lm", "gmlp", **TINY)
    config.data.max_length = 12
    config.data.train_split = str(folder / "train.txt")
    config.data.eval_splits = {"validation": str(folder / "validation.txt")}
    config.data.made_files_dir = str(folder / "made")
    return config


def write_corpus(folder):
    folder.mkdir()
    (folder / "train.txt").write_text("\n\n".join(SENTENCES * 8))
    (folder / "validation.txt").write_text("\n\n".join(SENTENCES[:30]))
    return folder


KINDS = {"classification": (write_tables, classification), "masked_lm": (write_corpus, masked_lm)}


@pytest.fixture(scope="module", params=KINDS)
def started(request, tmp_path_factory):
    """Its kind, the folder of its text, and a run that a kill has ended after two steps."""
    folder = tmp_path_factory.mktemp(request.param)
    write, config_for = KINDS[request.param]
    text = write(folder / "text")
    experiment.train(config_for(text), folder / "run")
    shutil.rmtree(folder / "run" / "checkpoints" / "4")
    return request.param, text, folder / "run"


@pytest.fixture
def moved(started, tmp_path):
    """Its kind, a copy of its text with files of another age, and a copy of the run."""
    kind, text, run = started
    text = shutil.copytree(text, tmp_path / "elsewhere", ignore=shutil.ignore_patterns("made"))
    for file in text.iterdir():
        os.utime(file, (1, 1))
    return KINDS[kind][1](text), text, shutil.copytree(run, tmp_path / "run")


def test_moved_text_is_the_same_text(moved):
    config, _, run = moved
    experiment.train(config, run)
    assert (run / "checkpoints" / "4").is_dir()


@pytest.mark.parametrize("split", ["train", "validation"])
@pytest.mark.parametrize("way", ["another word", "a line more"])
def test_changed_text_is_refused(moved, split, way):
    config, text, run = moved
    file = next(text.glob(f"{split}.*"))
    content = file.read_text()
    if way == "another word":
        content = content.replace(WORDS[9], WORDS[50])
    else:
        content += f"{SENTENCES[3]}\t1\n" if file.suffix == ".tsv" else "\n\n" + SENTENCES[3] * 9
    file.write_text(content)
    field = "data.train_split" if split == "train" else "data.eval_splits.validation"
    with pytest.raises(UserError, match=f"the data are not those .*\n  config.{field}: "):
        experiment.train(config, run)
    experiment.prepare(config, run, allow_changed_data=True)


def test_changed_labels_are_refused(tmp_path):
    text = write_tables(tmp_path / "text")
    config = classification(text)
    experiment.train(config, tmp_path / "run")
    table = (text / "train.tsv").read_text()
    (text / "train.tsv").write_text(table.replace("\t0\n", "\t1\n", 1))
    with pytest.raises(UserError, match="config.data.train_split: .40 examples"):
        experiment.train(config, tmp_path / "run")
    (text / "train.tsv").write_text(table.replace("\t0\n", "\tno\n").replace("\t1\n", "\tyes\n"))
    with pytest.raises(UserError, match="no, yes"):
        experiment.train(config, tmp_path / "run")


def test_another_tokenizer_at_the_same_path_is_refused(tmp_path):
    text = write_tables(tmp_path / "text")
    config = classification(text)
    experiment.train(config, tmp_path / "run")
    vocabulary = (text / "vocab.txt").read_text().split("\n")
    vocabulary[10], vocabulary[11] = vocabulary[11], vocabulary[10]
    (text / "vocab.txt").write_text("\n".join(vocabulary))
    with pytest.raises(UserError, match="digest of the tokenizer: "):
        experiment.train(config, tmp_path / "run")
    (text / "vocab.txt").unlink()
    experiment.train(config, tmp_path / "run")  # Its own copy is what it reads.


def test_a_run_of_an_earlier_version_is_resumed_on_its_own_training_text_only(started, tmp_path):
    kind, text, run = started
    run = shutil.copytree(run, tmp_path / "run")
    config = KINDS[kind][1](text)
    data = experiment.prepare(config, run).data
    RunFiles.of(run).data.unlink()
    (run / experiment.FINGERPRINT_FILE).write_text(fingerprint(data) + "\n")
    experiment.prepare(config, run)
    (run / experiment.FINGERPRINT_FILE).write_text("another")
    with pytest.raises(UserError, match="config.data.train_split: this is not the text"):
        experiment.prepare(config, run)
    experiment.prepare(config, run, allow_changed_data=True)
