"""Class names: their order in a data set, and their matching with the outputs of a model.

Order: names that are all integers are sorted by value (0, 1, 2, ..., 10). So are names that all
have the same letters (or none) before a number, with any suffix: class_2, class_10; 2_cat, 10_dog.
All other sets of names are sorted by code point, as Python sorts strings: they may mix words and
numbers, or have digits other than 0 to 9. Names of the same value, such as 1 and 01, are different
classes, also sorted by code point.

Matching: labels of a data set are mapped to the model's classes by name. If either side has no
names (an empty list, or just 0 to K - 1 in this order, as TFDS names unnamed classes) and the names
do not match, class i of the data set is taken to be output i, and a note is printed; but not if the
other side has other numbers, such as 1 to K.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from mlp_core.errors import UserError

# Python converts at most 4,300 digits to an integer; longer numbers are text.
INTEGER = re.compile(r"-?\d{1,4000}", re.ASCII)
NUMBERED = re.compile(r"(\D*)(\d{1,4000})(\D.*)?", re.ASCII | re.DOTALL)
NAMED = 4  # Class names that a message lists before the last.


class Classifier(Protocol):
    """The classes of a model with a head."""

    num_classes: int  # Number of outputs.
    class_names: Sequence[str]  # In the order of the outputs; empty if unknown.


class Labelled(Protocol):
    """A data set with class labels."""

    name: str
    class_names: Sequence[str]  # In the order of the labels.


def in_class_order(names: Iterable[str]) -> list[str]:
    """Sorts distinct class names into label order; see the module docstring."""
    names = sorted(names)
    return sorted(names, key=_order_of(names))  # Sorting is stable: 01 stays before 1.


def names_for_labels(source: str, model: Classifier, dataset: Labelled) -> Sequence[str]:
    """Returns the class names in the label order that the model needs.

    These are the names of the model or, if classes are matched by position, of the data set; they
    include all classes of the data set.

    Args:
      source: the origin of the model, for messages.
      model: a model with `num_classes` outputs.
      dataset: a data set with labels for some of the model's classes.

    Raises:
        UserError: the model lacks a class, or the numbers of unnamed classes differ.
    """
    there, wanted = model.class_names, dataset.class_names
    if _are_matched_by_name(there, wanted):
        return there
    if not _may_go_by_position(there, wanted):
        foreign = next(name for name in wanted if name not in set(there))
        raise UserError(
            f"{source}: its head is for other classes than {dataset.name}: {foreign!r} is not "
            f"among its {len(there):,}, {listed(there)}."
        )
    if model.num_classes != len(wanted):
        raise UserError(
            f"{source}: its head is for {model.num_classes:,} classes, {dataset.name} has "
            f"{len(wanted):,}; fine-tune it, or name weights for these classes."
        )
    return wanted


def assumed_order(source: str, model: Classifier, dataset: Labelled) -> str:
    """Describes how labels are matched with outputs; empty if both have the same names."""
    there, wanted = model.class_names, dataset.class_names
    if list(there) == list(wanted) or not wanted:
        return ""
    if _are_matched_by_name(there, wanted):
        some = f"{len(wanted):,} of the {len(there):,}"
        count = some if len(wanted) < len(there) else "the"
        return f"{dataset.name} has {count} classes of {source}; labels are matched by name"
    if not _have_names(there):
        outputs = f"{model.num_classes:,}"
        if len(wanted) < model.num_classes:
            outputs = f"first {len(wanted):,} of {outputs}"
        return (
            f"Note: {source} names no classes; assumes that its {outputs} outputs are, in this "
            f"order, {listed(wanted)}"
        )
    return (
        f"Note: {dataset.name} names no classes; assumes that its labels count, in this order, "
        f"{listed(there)}"
    )


def numbers_in(names: Sequence[str], wanted: Iterable[str]) -> list[int]:
    """Returns the index of each of `wanted` in `names`; KeyError if one is missing."""
    number_of = {name: number for number, name in enumerate(names)}
    return [number_of[name] for name in wanted]


def class_conflict(there: Sequence[str], wanted: Sequence[str]) -> str:
    """Says why a head for the classes `there` does not fit `wanted`, in order; empty if it does."""
    if list(there) == list(wanted):
        return ""
    if _may_go_by_position(there, wanted) and not _are_matched_by_name(there, wanted):
        return ""
    if not _have_names(wanted) and list(there[: len(wanted)]) == list(wanted):
        return ""
    if foreign := [name for name in wanted if name not in set(there)]:
        return f"{foreign[0]!r} is not among its {len(there):,}"
    if len(there) != len(wanted):
        return f"it has {len(there):,}, of which {len(wanted):,} are asked for"
    return f"they are in another order, beginning with {there[0]!r}"


def listed(names: Sequence[str]) -> str:
    """Formats the first names and the last."""
    if len(names) <= NAMED + 1:
        return ", ".join(names)
    return f"{', '.join(names[:NAMED])}, ..., {names[-1]}"


def _order_of(names: Sequence[str]) -> Callable[[str], tuple] | None:
    if _are_integers(names):
        return int
    matches = [NUMBERED.fullmatch(name) for name in names]
    if not all(matches) or len({match[1] for match in matches}) > 1:
        return None
    keys = {match[0]: (int(match[2]), match[3] or "") for match in matches}
    return keys.get


def _are_matched_by_name(there: Sequence[str], wanted: Sequence[str]) -> bool:
    return len(wanted) > 0 and set(wanted) <= set(there)


def _may_go_by_position(there: Sequence[str], wanted: Sequence[str]) -> bool:
    if _have_names(there) and _have_names(wanted):
        return False
    if not (there and wanted and _are_integers(there) and _are_integers(wanted)):
        return True
    return list(map(int, there)) == list(map(int, wanted))


def _are_integers(names: Sequence[str]) -> bool:
    return all(INTEGER.fullmatch(name) for name in names)


def _have_names(names: Sequence[str]) -> bool:
    """Whether classes have names, not only numbers."""
    return len(names) > 0 and list(names) != [str(i) for i in range(len(names))]
