"""A directory of tables as a data set of labelled texts, one file per split.

    DATA/train.tsv         any of the suffixes .tsv, .csv and .jsonl; see `tables`
    DATA/validation.tsv    dev, val and valid are aliases
    DATA/test.tsv          in other names, any character but letters, digits and _ becomes _

A file has the columns `sentence` or `text`, or for pairs `premise` and `hypothesis`, `sentence1`
and `sentence2`, `question1` and `question2`, or `question` and `sentence`. A column `label` (or
`gold_label`) names the class, in words or integers. Whitespace around a label is ignored, and 1.0
is class 1. A label is missing if the column is absent or holds a marker of GLUE, SNLI, pandas, R or
SQL (`-`, -1, an empty field, `nan`, `None`, `null`, `NA`, `hidden` etc., see `UNLABELLED`). A split
with only some labels missing is rejected, so that a class really called `none` or `NA` is not
silently lost; rename it in the file. Other columns are ignored.
"""

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from mlp_core.data.classes import in_class_order
from mlp_core.data.splits import parts_of
from mlp_core.errors import UserError
from mlp_core.process.console import say
from mlp_text.data.labelled_texts import (
    NO_LABEL,
    LabelledTexts,
    check_usable,
    find_text_features,
    is_unlabelled,
    plain_label,
)
from mlp_text.data.tables import SUFFIXES, read_rows

LABELS = ("label", "gold_label")
VALIDATION_NAMES = ("dev", "val", "valid")
NAMED = 5  # Most classes that a message lists.
MOST_DIGITS = 18  # In a numeric label.


@dataclasses.dataclass(frozen=True)
class _Table:
    """The shuffled rows of a file."""

    columns: list[list[str]]  # One or two columns of texts.
    labels: list[str]
    line_numbers: list[int]


class TextFolder:
    """User files, each read on first use and kept in memory.

    The classes are the labels of the split `train`, or of the only split, in the order of
    `mlp_core.data.classes`. Examples are shuffled deterministically, so that any part of a file
    sorted by label has all labels.
    """

    def __init__(self, root: Path):
        """Finds the files in `root` and reads the one that defines the classes.

        Raises:
            UserError: there are no files, or that one is not a labelled table.
        """
        root = root.absolute()
        self.name = str(root)
        self._files = _find_files(root)
        self._tables: dict[Path, _Table] = {}
        files = set(self._files.values())
        of_classes = self._files.get("train") or (files.pop() if len(files) == 1 else None)
        if of_classes is None:
            raise UserError(
                f"config.data.name: {root} has no file `train`; it has "
                f"{', '.join(sorted(file.name for file in files))}. {_expected(root)}"
            )
        self.text_features = _text_features_of(of_classes)
        labels = set(self._table(of_classes).labels)
        names = {name for name in labels if not is_unlabelled(name)}
        if len(names) < 2:
            without = ", ".join(map(repr, sorted(labels - names)))
            raise UserError(
                f"{of_classes}: there must be two or more different labels, in a column "
                f"`{LABELS[0]}`; there are {len(names)}"
                + (f", since {without} means that a text has none." if without else ".")
            )
        self.class_names = in_class_order(names)
        _note_similar(of_classes, self.class_names)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def splits(self) -> list[str]:
        """Names of the splits."""
        return list(self._files)

    def num_examples(self, split: str) -> int:
        """Number of rows of a split such as "train[:98%]" or "train+validation".

        Raises:
            ValueError: the split does not exist.
            UserError: a file is not a labelled table.
        """
        return sum(len(table.labels[cut]) for table, cut in self._parts(split))

    def load(self, split: str) -> LabelledTexts:
        """Returns the rows of a split.

        Raises:
            ValueError: the split does not exist.
            UserError: a file is not a labelled table, or its rows are unusable.
        """
        columns = [[] for _ in self.text_features]
        labels, line_numbers = [], []
        for table, cut in self._parts(split):
            for column, texts in zip(columns, table.columns, strict=True):
                column += texts[cut]
            labels += table.labels[cut]
            line_numbers += table.line_numbers[cut]
        number_of = {name: i for i, name in enumerate(self.class_names)}
        number_of |= {label: NO_LABEL for label in set(labels) if is_unlabelled(label)}
        where = f"{self.name}, split {split}"
        for label, line in zip(labels, line_numbers, strict=True):
            if label not in number_of:
                raise UserError(
                    f"{where}: line {line} has the label {label!r}, which is none of "
                    f"{self._listed_classes()}."
                )
        examples = LabelledTexts(
            texts=columns[0],
            pairs=columns[1] if len(columns) == 2 else None,
            labels=np.array([number_of[label] for label in labels], np.int32),
        )
        check_usable(
            where,
            examples,
            self.num_classes,
            name_of=lambda i: f"line {line_numbers[i]}",
            label_of=lambda i: labels[i],
        )
        return examples

    def _parts(self, split: str) -> list[tuple[_Table, slice]]:
        def table(name: str) -> _Table:
            return self._table(self._files[name])

        parts = parts_of(split, self._files, lambda name: len(table(name).labels))
        return [(table(name), cut) for name, cut in parts]

    def _table(self, file: Path) -> _Table:
        if file not in self._tables:
            self._tables[file] = _read_table(file, self.text_features)
        return self._tables[file]

    def _listed_classes(self) -> str:
        more = self.num_classes - NAMED
        return ", ".join(self.class_names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _find_files(root: Path) -> dict[str, Path]:
    """Returns the tables in `root` by split name."""
    files: dict[str, Path] = {}
    for file in sorted(root.iterdir()):
        if file.suffix.lower() in SUFFIXES and not file.name.startswith("."):
            split = re.sub(r"\W", "_", file.stem)  # Split names allow no other characters.
            if split in files:
                raise UserError(
                    f"config.data.name: {root} has both {files[split].name} and {file.name}; "
                    "there can be one file a split."
                )
            files[split] = file
    if not files:
        raise UserError(f"config.data.name: {root} has no table. {_expected(root)}")
    for name in VALIDATION_NAMES:
        if name in files:
            files.setdefault("validation", files[name])
    return files


def _text_features_of(file: Path) -> tuple[str, ...]:
    """Returns the text columns of the first row."""
    _, row = next(read_rows(file), (0, {}))
    if not row:
        raise UserError(f"{file}: there is no row in this file. {_expected(file.parent)}")
    features = find_text_features(row)
    if features is None:
        raise UserError(
            f"{file}: line 1 names no columns of texts; it has {', '.join(row)}. "
            f"{_expected(file.parent)}"
        )
    return features


def _read_table(file: Path, text_features: tuple[str, ...]) -> _Table:
    rows = list(read_rows(file))
    # The fixed seed gives files of equal length the same order.
    rows = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]
    return _Table(
        columns=[[_text(file, line, row, name) for line, row in rows] for name in text_features],
        labels=[_label(file, line, row) for line, row in rows],
        line_numbers=[line for line, _ in rows],
    )


def _text(file: Path, line: int, row: dict[str, Any], column: str) -> str:
    if not isinstance(row.get(column), str):
        found = "has no" if column not in row else "holds no text in its"
        raise UserError(f"{file}: line {line} {found} column `{column}`.")
    try:
        row[column].encode()
    except UnicodeEncodeError as error:  # JSON can escape lone surrogates.
        raise UserError(
            f"{file}: line {line} has half a character in its column `{column}`; mend it."
        ) from error
    return row[column]


def _label(file: Path, line: int, row: dict[str, Any]) -> str:
    label = next((row[name] for name in LABELS if name in row), None)
    if isinstance(label, float) and (label.is_integer() or math.isnan(label)):
        label = str(label)  # pandas writes integers with missing values as floats.
    if label is None:
        return ""
    if not isinstance(label, str | int):
        raise UserError(f"{file}: line {line} has {label!r} for a label; give a name or integer.")
    return plain_label(str(label))


def _note_similar(file: Path, names: list[str]) -> None:
    """Prints a note if two class names differ only in spelling."""
    spelled: dict[str, str] = {}
    for name in names:
        key = str(int(name)) if _is_integer(name) else " ".join(name.casefold().split())
        if key in spelled:
            say(
                f"Note: {file}: the labels {spelled[key]!r} and {name!r} are different classes; if "
                "they are two spellings of one class, spell them alike."
            )
        spelled.setdefault(key, name)


def _is_integer(text: str) -> bool:
    return text.isascii() and len(text) <= MOST_DIGITS and text.removeprefix("-").isdigit()


def _expected(root: Path) -> str:
    return (
        f"Expected: {root}/train.tsv (or .csv, .jsonl), validation.tsv and test.tsv with columns "
        "`sentence` or `text`, or of pairs `premise` and `hypothesis` or `sentence1` and "
        "`sentence2`, and `label`."
    )
