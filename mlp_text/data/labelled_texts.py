"""Texts, or pairs of texts, with one label each: what all data sets here are read into.

Shape: N examples.
"""

import dataclasses
import re
from collections.abc import Callable, Container

import numpy as np

from mlp_core.errors import UserError
from mlp_core.process.console import say

NO_LABEL = -1  # As the test splits of GLUE have it.
EMPTY_LIMIT = 0.01  # More empty texts than that are a mistake in the data.

# Labels of examples that have none, in lower case: what GLUE, SNLI and MultiNLI write for them, and
# what pandas, R and SQL write for a missing value.
UNLABELLED = {
    *("", "-", "-1", "hidden", "?", "none", "null", "nan", "-nan", "nat", "na", "n/a"),
    *("<na>", "#na", "#n/a", "#n/a n/a", "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan"),
    *("\\n", "(null)", "[null]"),
}
WHOLE_FLOAT = re.compile(r"([+-]?\d+)\.0*")

# What texts are called, alone or in pairs, a pair in the order in which it is read.
TEXT_FEATURES = (
    ("premise", "hypothesis"),
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("sentence",),
    ("text",),
)


@dataclasses.dataclass(frozen=True)
class LabelledTexts:
    """N texts; the second of each pair in `pairs`, None where texts come alone."""

    texts: list[str]
    pairs: list[str] | None
    labels: np.ndarray  # int32 [N].

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.texts)


def find_text_features(names: Container[str]) -> tuple[str, ...] | None:
    """Those of `names` that hold the text, or the pair of texts; None where none is known."""
    return next((known for known in TEXT_FEATURES if all(n in names for n in known)), None)


def plain_label(text: str) -> str:
    """A label as it names its class: without spaces around it, an integer without `.0`.

    A column of integers in which a value is missing becomes one of floats in pandas.
    """
    text = text.strip()
    whole = WHOLE_FLOAT.fullmatch(text)
    return whole[1] if whole else text


def is_unlabelled(label: str) -> bool:
    """Whether a label stands for none; see `UNLABELLED`."""
    return plain_label(label).lower() in UNLABELLED


def check_usable(
    where: str,
    examples: LabelledTexts,
    num_classes: int,
    name_of: Callable[[int], str] = "example {}".format,
    label_of: Callable[[int], str] | None = None,
) -> None:
    """Refuses examples that cannot be trained or scored on; tells of a few empty texts.

    Args:
      where: what messages call the examples, such as "glue/sst2, split test".
      examples: one or more.
      num_classes: labels go from 0 to this less one.
      name_of: what messages call the example of an index.
      label_of: what is written as the label of the example of an index; None if that is a number.

    Raises:
        UserError: an example has no label, or more than 1 % of the examples have an empty text.
    """
    unlabelled = np.flatnonzero((examples.labels < 0) | (examples.labels >= num_classes))
    if unlabelled.size == len(examples):
        raise UserError(
            f"{where}: no example has a label, as is usual in test splits; choose another split to "
            "train or score on."
        )
    if unlabelled.size:
        raise UserError(
            f"{where}: {unlabelled.size:,} of {len(examples):,} examples have no label between 0 "
            f"and {num_classes - 1}, the first is {name_of(unlabelled[0])}; "
            f"{_what_is_written(unlabelled[0], name_of, label_of)}choose another split, or take "
            "them out of the data."
        )
    columns = [examples.texts] if examples.pairs is None else [examples.texts, examples.pairs]
    rows = enumerate(zip(*columns, strict=True))
    empty = [i for i, texts in rows if not all(text.strip() for text in texts)]
    if not empty:
        return
    found = (
        f"{where}: {len(empty):,} of {len(examples):,} examples have an empty text, the first is "
        f"{name_of(empty[0])}"
    )
    if len(empty) > EMPTY_LIMIT * len(examples):
        raise UserError(f"{found}; take them out of the data.")
    say(f"{found}; they are used as they are")


def _what_is_written(
    index: int, name_of: Callable[[int], str], label_of: Callable[[int], str] | None
) -> str:
    if label_of is None:
        return ""
    return (
        f"{name_of(index)} has {label_of(index)!r} for a label, which stands for none (rename a "
        "class that is really called so); "
    )
