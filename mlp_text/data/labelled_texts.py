"""In-memory texts or text pairs with one label each, common to all data sets.

Shape: N examples.
"""

import dataclasses
import re
from collections.abc import Callable, Container

import numpy as np

from mlp_core.errors import UserError
from mlp_core.process.console import say

NO_LABEL = -1  # As in GLUE's test splits.
EMPTY_LIMIT = 0.01  # A larger share of empty texts is a data error.

# Lower-case markers of a missing label in GLUE, SNLI and MultiNLI, and of a missing value in
# pandas, R and SQL.
UNLABELLED = {
    *("", "-", "-1", "hidden", "?", "none", "null", "nan", "-nan", "nat", "na", "n/a"),
    *("<na>", "#na", "#n/a", "#n/a n/a", "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan"),
    *("\\n", "(null)", "[null]"),
}
WHOLE_FLOAT = re.compile(r"([+-]?\d+)\.0*")

# Known names of text features; pairs are in reading order.
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
    """N texts; `pairs` holds the second text of each pair, None for single texts."""

    texts: list[str]
    pairs: list[str] | None
    labels: np.ndarray  # int32 [N].

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.texts)


def find_text_features(names: Container[str]) -> tuple[str, ...] | None:
    """Returns the features in `names` that hold the text or text pair; None if unknown."""
    return next((known for known in TEXT_FEATURES if all(n in names for n in known)), None)


def plain_label(text: str) -> str:
    """Normalizes a label: strips whitespace, and `.0` after an integer.

    pandas turns an integer column with missing values into floats.
    """
    text = text.strip()
    whole = WHOLE_FLOAT.fullmatch(text)
    return whole[1] if whole else text


def is_unlabelled(label: str) -> bool:
    """Returns whether a label marks a missing one; see `UNLABELLED`."""
    return plain_label(label).lower() in UNLABELLED


def check_usable(
    where: str,
    examples: LabelledTexts,
    num_classes: int,
    name_of: Callable[[int], str] = "example {}".format,
    label_of: Callable[[int], str] | None = None,
) -> None:
    """Rejects examples unusable for training or evaluation; reports a few empty texts.

    Args:
      where: name of the examples in messages, such as "glue/sst2, split test".
      examples: one or more.
      num_classes: labels range from 0 to `num_classes - 1`.
      name_of: maps an example's index to its name in messages.
      label_of: maps an example's index to its label as written; None if labels are numbers.

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
