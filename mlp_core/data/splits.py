"""Splits by name, such as "train", and parts of them, such as "train[:98%]+validation"."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import tensorflow_datasets as tfds

from mlp_core.errors import UserError


class Splits(Protocol):
    """What is asked of a data set about its splits."""

    name: str
    splits: list[str]

    def num_examples(self, split: str) -> int:
        """How many examples a split such as "train[:98%]" has; ValueError or KeyError if none."""


def parts_of(
    split: str, names: Iterable[str], length_of: Callable[[str], int]
) -> list[tuple[str, slice]]:
    """What `split` takes of the splits `names`, in its order.

    `length_of` is asked only about those that `split` mentions.

    Raises:
        ValueError: there is no such split.
    """
    infos = {
        name: tfds.core.SplitInfo(
            name=name, shard_lengths=[length_of(name)], num_bytes=0, filename_template=None
        )
        for name in names
        if name in re.findall(r"\w+", split)
    }
    if not infos:
        raise ValueError("no split has this name")
    instructions = tfds.core.ReadInstruction.from_spec(split).to_absolute(infos)
    return [(part.splitname, slice(part.from_, part.to)) for part in instructions]


def check_split(field: str, dataset: Splits, split: str) -> None:
    """Refuses a split that the data set does not have, or that is empty.

    Raises:
        UserError: names `field`, the split and those there are.
    """
    try:
        empty = dataset.num_examples(split) == 0
    except UserError:
        raise
    except (KeyError, ValueError, NotImplementedError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{field}: {dataset.name} has no split {split!r} ({reason}); it has "
            f"{_counted(dataset)}. Name one of them, or a part such as "
            f"'{dataset.splits[0]}[:98%]'."
            f"{_held_out(field, dataset)}"
        ) from error
    if empty:
        raise UserError(f"{field}: {split!r} holds no example of {dataset.name}.")


def check_splits(dataset: Splits, train_split: str, eval_splits: Mapping[str, str]) -> None:
    """Refuses the splits of a configuration that the data set does not have, or that are empty.

    Raises:
        UserError: see `check_split`.
    """
    check_split("config.data.train_split", dataset, train_split)
    for name, split in eval_splits.items():
        check_split(f"config.data.eval_splits.{name}", dataset, split)


def _held_out(field: str, dataset: Splits) -> str:
    """How to evaluate on a part of the only split, where `field` names what to evaluate on."""
    if len(dataset.splits) != 1 or not field.startswith("config.data.eval_splits"):
        return ""
    (split,) = dataset.splits
    return (
        f" To hold out a tenth, set --{field}='{split}[90%:]' and "
        f"--config.data.train_split='{split}[:90%]'."
    )


def _counted(dataset: Splits) -> str:
    return ", ".join(f"{name} ({_count(dataset, name)})" for name in dataset.splits)


def _count(dataset: Splits, name: str) -> str:
    try:
        return f"{dataset.num_examples(name):,}"
    except UserError:  # Such as another folder beside those of the splits.
        return "unreadable"
