"""Tables made to hang, to take all memory or to break the program."""

import os
from pathlib import Path

import pytest

from mlp_core.errors import UserError
from mlp_text.data.text_folder import TextFolder
from mlp_text.tools.prediction import read_texts


@pytest.mark.parametrize(
    "name, start",
    [("train.tsv", b"sentence\tlabel\n"), ("train.csv", b"sentence,label\n"), ("train.jsonl", b"")],
)
def test_a_line_without_an_end_is_refused(tmp_path, name, start):
    with (tmp_path / name).open("wb") as file:
        file.write(start)
        file.truncate(1 << 40)
    number = 2 if start else 1
    with pytest.raises(UserError, match=f"{name}: line {number} is longer than 64 MiB"):
        TextFolder(tmp_path)


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("train.jsonl", "[" * 10**6, "line 1 is no JSON .nested too deeply"),
        ("train.jsonl", '{"text": "a", "label": ' + "9" * 5000 + "}", "line 1 is no JSON"),
        ("train.tsv", "\t".join(map(str, range(1001))) + "\n", "names 1,001 columns"),
    ],
)
def test_rows_that_cannot_be_are_refused(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        TextFolder(tmp_path)


def test_labels_of_thousands_of_digits_are_names(tmp_path):
    (tmp_path / "train.tsv").write_text(f"sentence\tlabel\na\t{'9' * 5000}\nb\t1\n")
    assert TextFolder(tmp_path).class_names == ["1", "9" * 5000]


def test_pipes_and_devices_are_no_tables(tmp_path):
    os.mkfifo(tmp_path / "train.tsv")
    with pytest.raises(UserError, match="not a regular file"):
        TextFolder(tmp_path)
    with pytest.raises(UserError, match="/dev/zero: line 1 does not end within 1 GiB"):
        read_texts([], Path("/dev/zero"), takes_pairs=False)
