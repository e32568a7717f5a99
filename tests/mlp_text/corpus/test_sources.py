"""Corpora by their names, and what is read from each."""

import gzip
import json

import numpy as np
import pytest
import tensorflow_datasets as tfds

from mlp_core.errors import MissingError, UserError
from mlp_text.corpus import text_files
from mlp_text.corpus.sources import open_corpus
from tests.mlp_text.corpus.made_corpora import make_documents, write_json_lines


def texts_of(name, **options):
    shards = open_corpus(str(name), **options)
    entries = [entry for shard in shards for entry in shard.entries()]
    assert not [entry for entry in entries if entry.fault]
    return [entry.text.rstrip("\r\n") for entry in entries]


@pytest.mark.parametrize("ending", ["json", "jsonl", "json.gz", "jsonl.gz"])
def test_json_lines_are_documents(ending, tmp_path):
    documents = ["one\nwith two lines", "zwei Äpfel", ""]
    assert texts_of(write_json_lines(tmp_path / f"a.{ending}", documents)) == documents


@pytest.mark.parametrize("ending", ["txt", "txt.gz"])
@pytest.mark.parametrize(
    "text, documents",
    [
        ("one\ntwo\n\n \nthree\n", ["one\ntwo", "three"]),
        ("one\r\ntwo\r\n\r\nthree", ["one\r\ntwo", "three"]),
        ("one\ntwo\nthree", ["one", "two", "three"]),
        ("\ufeffone\ntwo\n\n", ["one", "two"]),
    ],
    ids=["blank lines", "windows", "a line each", "blank line at the end only"],
)
def test_plain_text_has_blank_lines_between_documents_or_one_a_line(
    ending, text, documents, tmp_path
):
    path = tmp_path / f"a.{ending}"
    path.write_bytes(gzip.compress(text.encode()) if ending == "txt.gz" else text.encode())
    assert texts_of(path) == documents


def test_a_file_of_one_long_line_comes_in_parts_that_lose_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(text_files, "DOCUMENT_BYTES", 1000)
    monkeypatch.setattr(text_files, "READ_BYTES", 300)
    monkeypatch.setattr(text_files, "LOOK_AHEAD", 300)
    for text in ("äpfel birnen " * 500, "語" * 5000):
        (tmp_path / "a.txt").write_text(text)
        parts = [entry.text for entry in open_corpus(str(tmp_path / "a.txt"))[0].entries()]
        assert "".join(parts) == text and max(map(len, parts)) < 1300
        assert " " not in text or {part[-1] for part in parts} == {" "}


def test_files_are_named_by_pattern_folder_and_plus(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("b.json", "a.json.gz", "deep/c.jsonl"):
        write_json_lines(tmp_path / name, [name])
    (tmp_path / "notes.pdf").touch()
    assert texts_of(tmp_path) == ["a.json.gz", "b.json", "deep/c.jsonl"]
    assert texts_of(tmp_path / "?.json*") == ["a.json.gz", "b.json"]
    assert texts_of(tmp_path / "**" / "*.jsonl") == ["deep/c.jsonl"]
    assert texts_of(f"{tmp_path}/deep + {tmp_path}/b.json") == ["deep/c.jsonl", "b.json"]


def test_paths_may_have_characters_of_patterns_plus_and_capitals(tmp_path):
    folder = tmp_path / "texts [1] c++"
    folder.mkdir()
    for name in ("a.txt", "b+b.TXT", "c.Json.GZ"):
        text = b'{"text": "c.Json.GZ"}' if name == "c.Json.GZ" else name.encode()
        (folder / name).write_bytes(gzip.compress(text) if name.endswith("GZ") else text)
    assert texts_of(folder) == ["a.txt", "b+b.TXT", "c.Json.GZ"]
    assert texts_of(folder / "b+b.TXT") == ["b+b.TXT"]


@pytest.mark.parametrize("ending", ["txt", "json"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_is_told(ending, encoding, tmp_path):
    path = tmp_path / f"a.{ending}"
    path.write_bytes('\ufeff{"text": "a"}\nb\nc\n'.encode(encoding))
    with pytest.raises(UserError, match=f"^{path}: this is UTF-16; save it as UTF-8.$"):
        texts_of(path)


def test_half_a_character_is_a_fault_without_text(tmp_path):
    (tmp_path / "a.json").write_text('{"text": "a \\ud800"}')
    (entry,) = open_corpus(f"{tmp_path}/a.json")[0].entries()
    assert (entry.text, entry.fault) == ("", "half a character")


def test_the_language_reference_is_split_without_a_common_paragraph():
    train, validation = texts_of("pydoc:train"), texts_of("pydoc:validation")
    assert len(train) > 60 and sum(map(len, train)) > 300_000
    assert 0.05 < sum(map(len, validation)) / sum(map(len, train)) < 0.2
    one, other = (
        {" ".join(part.split()) for text in texts for part in text.split("\n\n")} - {""}
        for texts in (train, validation)
    )
    assert len(other) > 100 and not one & other


@pytest.fixture(scope="module")
def tfds_folder(tmp_path_factory):
    """A data set "made/text" with the splits train, of 5 sentences in 2 files, and test."""
    folder = tmp_path_factory.mktemp("tfds")

    class Made(tfds.core.GeneratorBasedBuilder):
        name = "made"
        VERSION = tfds.core.Version("1.2.0")

        def _info(self):
            text = tfds.features.Text()
            features = {"sentence": text, "text": text, "label": tfds.features.Scalar(np.int64)}
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features), disable_shuffling=True
            )

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples(), "test": self._generate_examples()}

        def _generate_examples(self):
            for i in range(5):
                yield i, {"sentence": f"sentence {i} ä", "text": f"text {i}", "label": i}

    options = tfds.download.DownloadConfig(num_shards=2)
    Made(data_dir=folder, file_format="array_record").download_and_prepare(download_config=options)
    return folder


def test_a_split_of_tfds_by_name_or_directory(tfds_folder):
    options = {"data_dir": str(tfds_folder)}
    sentences = [f"sentence {i} ä" for i in range(5)]
    assert len(open_corpus("tfds:made:train", **options)) == 2
    assert texts_of("tfds:made:train:sentence", **options) == sentences
    assert texts_of("tfds:made:1.2.0:train", **options) == [f"text {i}" for i in range(5)]
    directory = tfds_folder / "made" / "1.2.0"
    assert texts_of(f"tfds:{directory}:train[1:4]:sentence") == sentences[1:4]
    halves = "tfds:made:test[:50%]:sentence+tfds:made:test[50%:]:sentence"
    assert sorted(texts_of(halves, **options)) == sentences


def test_what_a_tfds_data_set_lacks_is_told(tfds_folder):
    options = {"data_dir": str(tfds_folder)}
    with pytest.raises(UserError, match="no such split; it has train, test"):
        open_corpus("tfds:made:valid", **options)
    with pytest.raises(UserError, match="no text feature 'label'; it has sentence, text"):
        open_corpus("tfds:made:train:label", **options)
    with pytest.raises(MissingError, match="tfds:other: TFDS has not prepared it in"):
        open_corpus("tfds:other:train", **options)
    with pytest.raises(UserError, match=r"train\[:0\]: there is no example in this part"):
        open_corpus("tfds:made:train[:0]", **options)
    directory = tfds_folder / "made" / "1.2.0"
    with pytest.raises(UserError, match=f"write tfds:{directory}:SPLIT"):
        open_corpus(str(directory))


@pytest.mark.parametrize(
    "name, message",
    [
        ("pydoc", "pydoc:train and pydoc:validation"),
        ("tfds:glue", "tfds:NAME:SPLIT"),
        ("tfds:/none/glue:train", "tfds:/none/glue: TFDS has not prepared it"),
        ("{folder}/none*.json", "no file is called so"),
        ("{folder}", "no file in this folder ends in"),
        ("", "an empty name"),
        ("{folder}/a.pdf", "text is read from .json, .json.gz"),
        ("pydoc:train+pydoc:train", "names pydoc:train twice"),
        ("~nobody-is-called-so/a.txt", "there is no home directory ~nobody-is-called-so"),
        ("+".join(["pydoc:train"] * 40), "names pydoc:train twice"),
    ],
)
def test_a_name_of_nothing_is_told(name, message, tmp_path):
    (tmp_path / "a.pdf").touch()
    with pytest.raises(UserError, match=message):
        open_corpus(name.format(folder=tmp_path))


def test_a_file_keeps_its_identity_in_another_folder_and_loses_it_with_its_content(tmp_path):
    documents = make_documents(300)
    path = write_json_lines(tmp_path / "a.json.gz", documents)
    (identity,) = [shard.identity() for shard in open_corpus(str(path))]
    (tmp_path / "b").mkdir()
    path = path.rename(tmp_path / "b" / "a.json.gz")
    assert open_corpus(str(path))[0].identity() == identity
    write_json_lines(path, [*documents[:150], "other", *documents[151:]])
    assert open_corpus(str(path))[0].identity() != identity


def test_an_uncompressed_file_loses_its_identity_when_it_is_written_again(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"text": "a"}))
    identity = open_corpus(str(path))[0].identity()
    assert open_corpus(str(path))[0].identity() == identity
    path.write_text(json.dumps({"text": "b"}))
    assert open_corpus(str(path))[0].identity() != identity
