"""Builders of GLUE from the published archives; TFDS's own builder is asked what they must be."""

import pytest
import tensorflow_datasets as tfds

from mlp_core.data.splits import check_splits
from mlp_core.errors import MissingError, UserError
from mlp_text.data.glue import Mnli, Sst2
from mlp_text.data.text_dataset import open_text_dataset
from tests.mlp_text.data.made_glue import MNLI, SST2, as_tsv, made_zip

BUILDERS = {"glue/sst2": (Sst2, SST2), "glue/mnli": (Mnli, MNLI)}


@pytest.fixture(params=BUILDERS)
def task(request, tmp_path, monkeypatch):
    """Name, builder and tables of a task whose archive lies where it would be downloaded to."""
    builder, tables = BUILDERS[request.param]
    archive = made_zip(tmp_path / "downloads" / f"{request.param[5:]}.zip", tables)
    monkeypatch.setattr(builder, "archives", {"all": archive})
    return request.param, builder, tables


def theirs(name, folder):
    return tfds.builder(name, data_dir=str(folder))


def test_names_versions_features_and_archives_are_those_of_tfds(tmp_path):
    for name, (builder, _) in BUILDERS.items():
        ours, other = builder(data_dir=str(tmp_path)), theirs(name, tmp_path)
        assert ours.info.full_name == other.info.full_name
        assert ours.data_path == other.data_path
        assert ours.info.features.to_json() == other.info.features.to_json()
        assert ours.info.features["label"].names == other.info.features["label"].names
        (archive,) = builder.archives.values()
        known = other.url_infos[archive.url]
        assert (archive.size, archive.sha256) == (known.size, known.checksum)


def test_each_table_is_read_as_tfds_reads_it(task, tmp_path):
    """With the quotes, the blanks at the ends and the rows of a wrong length in them."""
    name, builder, tables = task
    ours, other = builder(data_dir=str(tmp_path)), theirs(name, tmp_path)
    for split, member in builder.members.items():
        table = tmp_path / "table.tsv"
        table.write_text(as_tsv(tables[member]), encoding="utf-8")
        expected = dict(other._generate_examples(table, split))
        encode = ours.info.features["label"].encode_example
        for example in expected.values():
            example["label"] = encode(example["label"])
        assert dict(ours._generate_examples(ours.archive_path("all"), member)) == expected
        assert expected


def test_a_prepared_data_set_is_one_of_tfds_and_is_used_from_then_on(task, tmp_path, capsys):
    name, builder, tables = task
    dataset = open_text_dataset(name, str(tmp_path))
    assert f"Prepares {name} in {tmp_path}/{name}/2.0.0" in capsys.readouterr().out
    read_back = tfds.builder_from_directory(str(tmp_path / name / "2.0.0"))
    assert read_back.info.full_name == f"{name}/2.0.0"
    assert list(read_back.info.splits) == dataset.splits == list(builder.members)
    assert list(read_back.info.features["label"].names) == builder.classes
    (tmp_path / "downloads" / f"{name[5:]}.zip").unlink()
    again = open_text_dataset(name, str(tmp_path))
    assert "Prepares" not in capsys.readouterr().out
    assert again.load("train").texts == dataset.load("train").texts


def test_texts_come_with_their_labels_and_pairs(tmp_path, monkeypatch):
    for name, (builder, tables) in BUILDERS.items():
        archive = made_zip(tmp_path / "downloads" / f"{name[5:]}.zip", tables)
        monkeypatch.setattr(builder, "archives", {"all": archive})
    sst2 = open_text_dataset("glue/sst2", str(tmp_path)).load("train")
    got = dict(zip(sst2.texts, sst2.labels.tolist(), strict=True))
    assert got == {text: int(label) for text, label in SST2["SST-2/train.tsv"][1:]}
    assert sst2.pairs is None and sst2.labels.dtype == "int32"
    mnli = open_text_dataset("glue/mnli", str(tmp_path))
    assert mnli.text_features == ("premise", "hypothesis")
    train = mnli.load("train")
    got = set(zip(train.texts, train.pairs, train.labels.tolist(), strict=True))
    assert got == {
        *((f'premise "{i}', f'hypothesis {i}"', i % 3) for i in range(12)),
        ("more fields", "than columns", 1),
    }


def test_test_splits_that_keep_their_labels_back_are_refused(task, tmp_path):
    name, builder, _ = task
    dataset = open_text_dataset(name, str(tmp_path))
    for split in builder.members:
        if split.startswith("test"):
            with pytest.raises(UserError, match=f"{name}, split {split}: no example has a label"):
                dataset.load(split)


def test_a_zip_archive_that_is_damaged_or_lacks_a_table_is_told_by_name(tmp_path, monkeypatch):
    path = tmp_path / "downloads" / "sst2.zip"
    whole = made_zip(path, SST2)
    monkeypatch.setattr(Sst2, "archives", {"all": whole})
    content = bytearray(path.read_bytes())
    content[60] ^= 0xFF
    for changed, told in ((bytes(content), "damaged"), (bytes(content[:200]), "damaged")):
        path.write_bytes(changed)
        with pytest.raises(UserError, match=f"sst2.zip: this archive is {told}"):
            dict(Sst2(data_dir=str(tmp_path))._generate_examples(path, "SST-2/train.tsv"))
    made_zip(path, {"SST-2/dev.tsv": SST2["SST-2/dev.tsv"]})
    with pytest.raises(UserError, match="sst2.zip: there is no SST-2/train.tsv in this archive"):
        dict(Sst2(data_dir=str(tmp_path))._generate_examples(path, "SST-2/train.tsv"))
    assert not (tmp_path / "glue").exists()


def test_what_cannot_be_fetched_is_told_with_its_address_and_place(task, tmp_path):
    name, builder, _ = task
    builder(data_dir=str(tmp_path)).archive_path("all").unlink()
    with pytest.raises(MissingError) as told:
        open_text_dataset(name, str(tmp_path))
    assert f"published at {builder.archives['all'].url}" in str(told.value)
    assert f"Put the file at {tmp_path}/downloads/{name[5:]}.zip" in str(told.value)


def test_the_real_data_sets_are_used_as_they_are(real_data, tmp_path):
    folder = str(real_data / "tfds")
    sst2 = open_text_dataset("glue/sst2", folder)
    assert [sst2.num_examples(split) for split in sst2.splits] == [67_349, 872, 1_821]
    assert sst2.class_names == ["negative", "positive"]
    validation = sst2.load("validation")
    assert len(validation) == 872 and validation.labels.sum() == 444
    assert len(sst2.load("train[:2%]")) == 1_347
    with pytest.raises(UserError, match="split test: no example has a label"):
        sst2.load("test")
    mnli = open_text_dataset("glue/mnli", folder)
    check_splits(mnli, "train", {"matched": "validation_matched"})
    assert mnli.class_names == ["entailment", "neutral", "contradiction"]
    assert {split: mnli.num_examples(split) for split in mnli.splits} == {
        "train": 9_888,
        "validation_matched": 6_238,
        "validation_mismatched": 999,
        "test_matched": 10,
        "test_mismatched": 10,
    }
    pairs = mnli.load("validation_mismatched")
    assert len(pairs.texts) == len(pairs.pairs) == 999 and set(pairs.labels) == {0, 1, 2}
    for dataset, builder in ((sst2, Sst2), (mnli, Mnli)):
        ours = builder(data_dir=str(tmp_path))
        assert ours.info.features.to_json() == dataset.builder.info.features.to_json()
        assert list(ours.members) == dataset.splits
