"""Labelled texts from TFDS directories, from tables of one's own, and made ones."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

from mlp_core.data.splits import check_split
from mlp_core.errors import MissingError, UserError
from mlp_text.data.text_dataset import open_text_dataset
from tests.made_tfds import write_tfds
from tests.mlp_core.data.tfds.made_tfrecord import as_tfrecord

TEXT = tfds.features.Text()
SENTENCE = {"sentence": TEXT, "label": tfds.features.ClassLabel(names=["no", "yes"])}


def sentences(count, empty=()):
    return [
        {"sentence": " " if i in empty else f'text "{i}" \u00e9', "label": i % 2}
        for i in range(count)
    ]


def as_rows(examples):
    columns = [examples.texts, examples.pairs or examples.texts, examples.labels.tolist()]
    return sorted(zip(*columns, strict=True))


@pytest.mark.parametrize("file_format", ["array_record", "tfrecord"])
def test_a_directory_of_tfds_is_read_in_whole_and_in_parts(tmp_path, file_format):
    directory = write_tfds(tmp_path, SENTENCE | {"idx": np.int32}, [
        row | {"idx": i} for i, row in enumerate(sentences(50))
    ])  # fmt: skip
    if file_format == "tfrecord":
        as_tfrecord(directory)
    for name, data_dir in (("made", str(tmp_path)), (str(directory), None)):
        dataset = open_text_dataset(name, data_dir)
        assert dataset.name == name and dataset.splits == ["train"]
        assert dataset.text_features == ("sentence",)
        assert dataset.class_names == ["no", "yes"] and dataset.num_classes == 2
        whole = dataset.load("train")
        assert as_rows(whole) == sorted(
            (row["sentence"], row["sentence"], row["label"]) for row in sentences(50)
        )
        assert whole.pairs is None and whole.labels.dtype == np.int32
        first, rest = dataset.load("train[:30%]"), dataset.load("train[30%:]")
        assert (len(first), len(rest)) == (dataset.num_examples("train[:30%]"), 35) == (15, 35)
        assert first.texts + rest.texts == whole.texts
        with pytest.raises(UserError, match="has no split 'test'.* it has train \\(50\\)"):
            check_split("config.data.eval_splits.test", dataset, "test")


@pytest.mark.parametrize(
    "pair",
    [
        ("premise", "hypothesis"),
        ("sentence1", "sentence2"),
        ("question1", "question2"),
        ("question", "sentence"),
    ],
)
def test_the_first_of_a_pair_comes_first_whatever_its_name(tmp_path, pair):
    features = {name: TEXT for name in pair} | {"label": SENTENCE["label"]}
    directory = write_tfds(tmp_path, features, [{pair[0]: "1st", pair[1]: "2nd", "label": "yes"}])
    dataset = open_text_dataset(str(directory), None)
    assert dataset.text_features == pair
    examples = dataset.load("train")
    assert (examples.texts, examples.pairs, examples.labels.tolist()) == (["1st"], ["2nd"], [1])


UNSUITABLE = {
    "no texts": ({"label": SENTENCE["label"], "idx": np.int32}, "no feature `sentence` or `text`"),
    "texts of unknown names": (
        {"title": TEXT, "body": TEXT, "label": SENTENCE["label"]},
        "no feature `sentence` or `text`.*; it has .*title",
    ),
    "no label": ({"text": TEXT}, "no class label `label`; it has text"),
    "label is a number": ({"text": TEXT, "label": np.float32}, "no class label `label`"),
}


@pytest.mark.parametrize("features, message", UNSUITABLE.values(), ids=UNSUITABLE.keys())
def test_a_data_set_without_texts_or_labels_is_refused(tmp_path, features, message):
    row = {name: "words" if feature is TEXT else 0 for name, feature in features.items()}
    directory = write_tfds(tmp_path, features, [row])
    with pytest.raises(UserError, match=message):
        open_text_dataset(str(directory), None)


def test_texts_that_are_not_utf8_are_told_by_example_and_feature(tmp_path):
    rows = sentences(10)
    rows[3]["sentence"] = b"caf\xe9"
    dataset = open_text_dataset(str(write_tfds(tmp_path, SENTENCE, rows)), None)
    raw = dataset.builder.as_data_source(
        "train", deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
    )
    at = next(i for i, record in enumerate(raw) if b"caf\xe9" in record)
    with pytest.raises(
        UserError, match=f"split train: `sentence` of example {at} is not UTF-8 .byte 3 is 0xe9"
    ):
        dataset.load("train")


def test_few_empty_texts_are_told_and_many_refused(tmp_path, capsys):
    few = write_tfds(tmp_path / "few", SENTENCE, sentences(200, empty=(7, 8)))
    capsys.readouterr()
    texts = open_text_dataset(str(few), None).load("train").texts
    assert len(texts) == 200
    first = [i for i, text in enumerate(texts) if not text.strip()][0]
    assert capsys.readouterr().out == (
        f"{few}, split train: 2 of 200 examples have an empty text, the first is example {first}; "
        "they are used as they are\n"
    )
    many = write_tfds(tmp_path / "many", SENTENCE, sentences(200, empty=(7, 8, 9)))
    with pytest.raises(UserError, match="3 of 200 examples have an empty text, .*; take them out"):
        open_text_dataset(str(many), None).load("train")


def test_single_examples_without_a_label_are_told_by_number(tmp_path):
    rows = sentences(10)
    rows[4]["label"] = -1
    dataset = open_text_dataset(str(write_tfds(tmp_path, SENTENCE, rows)), None)
    with pytest.raises(
        UserError, match=r"split train: 1 of 10 examples have no label .* is example \d;"
    ):
        dataset.load("train")


def test_a_file_in_place_of_its_folder_is_told(tmp_path):
    (tmp_path / "train.tsv").write_text("text\tlabel\na\t0\nb\t1\n")
    with pytest.raises(UserError, match="train.tsv is a file; name a folder of such"):
        open_text_dataset(str(tmp_path / "train.tsv"), None)


def test_a_name_that_nothing_is_known_by_is_told_with_what_would_help(tmp_path):
    with pytest.raises(MissingError, match=r"(?s)'glue/rte' is not prepared.*glue/mnli, glue/sst2"):
        open_text_dataset("glue/rte", str(tmp_path))


@pytest.mark.parametrize("name", ["./reveiws", "data/my reviews"])
def test_a_path_of_nothing_is_told(name, tmp_path):
    with pytest.raises(MissingError, match=f"'{name}' is not prepared .* no folder is called so"):
        open_text_dataset(name, str(tmp_path))


def test_a_path_in_the_home_of_nobody_is_told(tmp_path):
    with pytest.raises(UserError, match="there is no home directory ~nobody-is-called-so"):
        open_text_dataset("~nobody-is-called-so/reviews", str(tmp_path))


@pytest.mark.parametrize("name", ["synthetic_text", "synthetic_text/pair"])
def test_made_texts_can_be_told_apart_by_their_words(name):
    dataset = open_text_dataset(name, None)
    train, validation = dataset.load("train"), dataset.load("validation")
    assert (len(train), len(validation)) == (512, 100)
    assert (train.pairs is not None) == (len(dataset.text_features) == 2)
    assert dataset.num_examples("train[:50%]") == len(dataset.load("train[:50%]")) == 256
    assert dataset.load("train[:50%]").texts == train.texts[:256]
    assert as_rows(train) == as_rows(open_text_dataset(name, None).load("train"))

    def last(examples):
        return examples.pairs or examples.texts

    counts = {}
    for text, label in zip(last(train), train.labels, strict=True):
        for word in text.split():
            counts.setdefault(word, np.ones(dataset.num_classes))[label] += 1
    flat = np.ones(dataset.num_classes)
    scores = [sum(np.log(counts.get(w, flat)) for w in text.split()) for text in last(validation)]
    accuracy = np.mean(np.argmax(scores, 1) == validation.labels)
    assert accuracy > 0.9, accuracy
    assert len(set(train.texts) & set(validation.texts)) < 5
