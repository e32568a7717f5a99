"""Tables of one's own as a data set of labelled texts."""

import json
import re

import numpy as np
import pytest

from mlp_core.data.splits import check_split
from mlp_core.errors import UserError
from mlp_text.data.text_dataset import open_text_dataset

ROWS = [('say "hello', "good"), ('one, two and "three"', "bad"), ("na\u00efve caf\u00e9", "good")]


def write(folder, **files):
    """Files by name, the last underscore standing for the dot: `train_tsv="..."`."""
    for name, content in files.items():
        path = folder / ".".join(name.rsplit("_", 1))
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(folder)


def tsv(*rows):
    return "".join("\t".join(row) + "\n" for row in rows)


def as_rows(examples):
    columns = [examples.texts, examples.pairs or examples.texts, examples.labels.tolist()]
    return sorted(zip(*columns, strict=True))


CONTENTS = {
    "tsv": tsv(("sentence", "label"), *ROWS),
    "tsv of Windows": "\ufeff" + tsv(("sentence", "label"), *ROWS).replace("\n", "\r\n"),
    "csv": 'text,label\n"say ""hello",good\n"one, two and ""three""",bad\n'
    "na\u00efve caf\u00e9,good\n",
    "jsonl": "".join(json.dumps({"label": label, "text": text}) + "\n" for text, label in ROWS),
}


@pytest.mark.parametrize("kind", CONTENTS)
def test_every_kind_of_table_holds_the_same_texts_quotes_and_all(tmp_path, kind):
    suffix = kind.split()[0]
    dataset = open_text_dataset(write(tmp_path, **{f"train_{suffix}": CONTENTS[kind]}), None)
    assert dataset.class_names == ["bad", "good"] and dataset.num_classes == 2
    assert as_rows(dataset.load("train")) == sorted((t, t, int(n == "good")) for t, n in ROWS)


def test_a_field_of_csv_may_go_over_lines(tmp_path):
    content = 'text,label\n"one\ntwo",a\nthree,b\n'
    examples = open_text_dataset(write(tmp_path, train_csv=content), None).load("train")
    assert sorted(examples.texts) == ["one\ntwo", "three"]


def test_pairs_further_columns_and_the_names_of_glue_are_understood(tmp_path):
    header = ("index", "sentence1", "genre", "sentence2", "gold_label")
    rows = [(str(i), f"first {i}", "x", f"second {i}", "yes" if i % 2 else "no") for i in range(6)]
    folder = write(
        tmp_path,
        train_tsv=tsv(header, *rows),
        dev_tsv=tsv(header, *rows[:2]),
        test_tsv=tsv(header[:4], *(row[:4] for row in rows)),
    )
    dataset = open_text_dataset(folder, None)
    assert dataset.text_features == ("sentence1", "sentence2")
    assert as_rows(dataset.load("train")) == [
        (f"first {i}", f"second {i}", i % 2) for i in range(6)
    ]
    assert as_rows(dataset.load("validation")) == as_rows(dataset.load("dev"))
    assert dataset.num_examples("validation") == 2 and dataset.num_examples("test") == 6
    with pytest.raises(UserError, match=f"{folder}, split test: no example has a label"):
        dataset.load("test")
    with pytest.raises(UserError, match=r"no split 'nope'.*dev \(2\), test \(6\), train \(6\)"):
        check_split("config.data.train_split", dataset, "nope")


def test_classes_that_are_numbers_are_in_the_order_of_numbers(tmp_path):
    rows = [{"text": f"{i} stars", "label": i} for i in (10, 9, 1, 2)]
    lines = "\n".join(map(json.dumps, rows))
    dataset = open_text_dataset(write(tmp_path, train_jsonl=lines), None)
    assert dataset.class_names == ["1", "2", "9", "10"]
    got = {text: dataset.class_names[label] for text, _, label in as_rows(dataset.load("train"))}
    assert got == {"10 stars": "10", "9 stars": "9", "1 stars": "1", "2 stars": "2"}


def test_parts_of_a_file_sorted_by_its_labels_have_all_labels(tmp_path):
    rows = [(f"text {i}", str(int(i >= 500))) for i in range(1000)]
    dataset = open_text_dataset(write(tmp_path, train_tsv=tsv(("text", "label"), *rows)), None)
    first, rest = dataset.load("train[:90%]"), dataset.load("train[90%:]")
    assert (len(first), len(rest)) == (dataset.num_examples("train[:90%]"), 100) == (900, 100)
    assert as_rows(dataset.load("train")) == sorted(as_rows(first) + as_rows(rest))
    assert 30 < rest.labels.sum() < 70
    again = open_text_dataset(str(tmp_path), None).load("train[:90%]")
    assert again.texts == first.texts and np.array_equal(again.labels, first.labels)


def test_a_field_of_csv_may_be_long(tmp_path):
    long = "word " * 40_000
    rows = [("text", "label"), (long, "0"), ("b", "1")]
    folder = write(tmp_path, train_csv="".join(f"{text},{label}\n" for text, label in rows))
    assert long in open_text_dataset(folder, None).load("train").texts


def test_names_of_files_that_no_split_can_have_are_made_such(tmp_path):
    for name in ("train", "my-dev set"):
        (tmp_path / f"{name}.tsv").write_text(GOOD)
    dataset = open_text_dataset(str(tmp_path), None)
    assert dataset.num_examples("my_dev_set[:50%]") == 1
    with pytest.raises(
        UserError, match=r"split 'dev' \(no split has this name\); it has my_dev_set \(2"
    ):
        check_split("config.data.train_split", dataset, "dev")


UNLABELLED = [
    *(
        "-",
        "-1",
        "-1.0",
        "",
        " ",
        "nan",
        "\\N",
        "(null)",
        "NaN",
        " NaN",
        "NAN",
        "None",
        "NONE",
        "null",
        "NULL",
        "NA",
    ),
    *("N/A", "n/a", "<NA>", "#N/A", "hidden", "Hidden ", "?", "NaT"),
]


@pytest.mark.parametrize("label", UNLABELLED)
@pytest.mark.parametrize("column", ["label", "gold_label"])
def test_a_label_that_stands_for_none_is_no_class(tmp_path, column, label):
    rows = [("text", column), ("a", "yes"), ("b", "no"), ("c", label), ("d", label)]
    folder = write(tmp_path, train_tsv=tsv(*rows), test_tsv=tsv(rows[0], *rows[3:]))
    dataset = open_text_dataset(folder, None)
    assert dataset.class_names == ["no", "yes"]
    shown = repr("-1" if label == "-1.0" else label.strip())
    with pytest.raises(
        UserError, match="split train: 2 of 4 examples have no label .*the first is"
    ):
        dataset.load("train")
    with pytest.raises(UserError, match=f"line [45] has {re.escape(shown)} for a label, which st"):
        dataset.load("train")
    with pytest.raises(UserError, match="split test: no example has a label"):
        dataset.load("test")


@pytest.mark.parametrize("label", ["null", "NaN", "-1", "-1.0", '""', '"-"', '"none"'])
def test_in_json_too(tmp_path, label):
    rows = [f'{{"text": "{i}", "label": {n}}}' for i, n in enumerate(["0", "1", label])]
    dataset = open_text_dataset(write(tmp_path, train_jsonl="\n".join(rows)), None)
    assert dataset.class_names == ["0", "1"]
    with pytest.raises(UserError, match="1 of 3 examples have no label .*the first is line 3"):
        dataset.load("train")


def test_a_row_without_a_label_is_reported_as_empty(tmp_path):
    rows = '{"text": "a", "label": 0}\n{"text": "b", "label": 1}\n{"text": "c"}\n'
    dataset = open_text_dataset(write(tmp_path, train_jsonl=rows), None)
    with pytest.raises(UserError, match="line 3 has '' for a label"):
        dataset.load("train")


def test_floats_of_pandas_and_spaces_make_no_new_classes(tmp_path):
    rows = [("text", "label"), ("a", "1.0"), ("b", "1"), ("c", " 0 "), ("d", "0.0")]
    jsonl = '{"text": "a", "label": 1.0}\n{"text": "b", "label": 0}\n'
    dataset = open_text_dataset(write(tmp_path, train_tsv=tsv(*rows), test_jsonl=jsonl), None)
    assert dataset.class_names == ["0", "1"]
    assert as_rows(dataset.load("train")) == [
        ("a", "a", 1), ("b", "b", 1), ("c", "c", 0), ("d", "d", 0),
    ]  # fmt: skip
    assert as_rows(dataset.load("test")) == [("a", "a", 1), ("b", "b", 0)]


@pytest.mark.parametrize("one, other", [("Good", "good"), ("1", "01"), ("so  so", "So so")])
def test_classes_that_may_be_two_spellings_of_one_are_reported(tmp_path, one, other, capsys):
    rows = [("text", "label"), ("a", one), ("b", other), ("c", "bad")]
    dataset = open_text_dataset(write(tmp_path, train_tsv=tsv(*rows)), None)
    assert set(dataset.class_names) == {one, other, "bad"}
    said = capsys.readouterr().out
    assert "train.tsv: the labels " in said and "are different classes" in said


HEADER = ("sentence", "label")
GOOD = tsv(HEADER, ("a", "0"), ("b", "1"))
MISTAKES = {
    "not UTF-8": ({"train_tsv": GOOD.encode() + b"caf\xe9\t1\n"}, "train.tsv: line 4 is not UTF-8"),
    "field missing": ({"train_tsv": GOOD + "c\n"}, "train.tsv: line 4 has 1 fields, but the hea"),
    "field too many": ({"train_csv": "text,label\na,0\nb, c,1\n"}, "line 3 has 3 fields"),
    "quote left open": ({"train_csv": 'text,label\na,0\n"b,1\n'}, "line 3 is no CSV"),
    "no columns of texts": ({"train_tsv": "phrase\tlabel\na\t0\n"}, "line 1 names no columns of t"),
    "no label": ({"train_tsv": "text\na\nb\n"}, "two or more different labels, in a column `labe"),
    "one class": ({"train_tsv": "text\tlabel\na\t1\n"}, "two or more different labels.* are 1"),
    "signs": (
        {"train_tsv": "text\tlabel\na\t-1\nb\t1\n"},
        "are 1, since '-1' means that a text has",
    ),
    "nothing": ({"train_tsv": ""}, "train.tsv: there is no row in this file"),
    "header alone": ({"train_tsv": tsv(HEADER)}, "train.tsv: there is no row in this file"),
    "no JSON": ({"train_jsonl": '{"text": "a", "label": 0}\nb\n'}, "jsonl: line 2 is no JSON"),
    "no object": ({"train_jsonl": '{"text": "a", "label": 0}\n[]\n'}, "line 2 is no object"),
    "key missing": (
        {"train_jsonl": '{"text": "a", "label": 0}\n{"label": 1}\n'},
        "line 2 has no column `text`",
    ),
    "text is null": (
        {"train_jsonl": '{"text": "a", "label": 0}\n{"text": null, "label": 1}\n'},
        "line 2 holds no text in its column `text`",
    ),
    "label is no class": (
        {"train_jsonl": '{"text": "a", "label": 0.5}\n'},
        "line 1 has 0.5 for a label; give a name or integer",
    ),
    "empty label": ({"train_tsv": GOOD + "c\t\n"}, "line 4 has '' for a label"),
    "label of -1": (
        {"train_tsv": GOOD + "c\t-1\n"},
        "split train: 1 of 3 examples have no label between 0 and 1, the first is line 4",
    ),
    "half a character": (
        {"train_jsonl": '{"text": "a", "label": 0}\n{"text": "\\ud800", "label": 1}\n'},
        "line 2 has half a character in its column `text`",
    ),
    "foreign label": (
        {"train_tsv": GOOD, "test_tsv": GOOD + "c\t2\n"},
        "split test: line 4 has the label '2', which is none of 0, 1",
    ),
    "empty texts": ({"train_tsv": GOOD + " \t1\n"}, "1 of 3 .*have an empty text, .* is line 4"),
    "two files": ({"train_tsv": GOOD, "train_csv": "a"}, "has both train.csv and train.tsv"),
    "no file": ({"readme_txt": "a"}, "has no table. Expected: .*/train.tsv"),
    "no train": ({"a_tsv": GOOD, "b_tsv": GOOD}, "has no file `train`; it has a.tsv, b.tsv"),
}


@pytest.mark.parametrize("files, message", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_table_built_otherwise_is_refused_with_its_line(tmp_path, files, message):
    with pytest.raises(UserError, match=message) as told:
        dataset = open_text_dataset(write(tmp_path, **files), None)
        dataset.load("train")
        dataset.load("test")
    assert str(tmp_path) in str(told.value)
