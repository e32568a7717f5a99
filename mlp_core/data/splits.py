"""Splits by name, such as "train", and parts of them, such as "train[:98%]+validation"."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import tensorflow_datasets as tfds

from mlp_core.errors import UserError


class Splits(Protocol):
    """A data set with named splits."""

    name: str
    splits: list[str]

    def num_examples(self, split: str) -> int:
        """Returns the size of a split such as "train[:98%]"; ValueError or KeyError if unknown."""


def parts_of(
    split: str, names: Iterable[str], length_of: Callable[[str], int]
) -> list[tuple[str, slice]]:
    """Resolves `split` into slices of the splits `names`, in its order.

    `length_of` is called only for splits that `split` mentions.

    Raises:
        ValueError: the split does not exist.
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
    """Raises `UserError` if the data set lacks a split, or if it is empty.

    The message lists the available splits.
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
    """Applies `check_split` to all splits of a configuration."""
    check_split("config.data.train_split", dataset, train_split)
    for name, split in eval_splits.items():
        check_split(f"config.data.eval_splits.{name}", dataset, split)


def _held_out(field: str, dataset: Splits) -> str:
    """Suggests a held-out part of the only split if `field` is an evaluation split."""
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
    except UserError:  # For example, a directory next to those of the splits.
        return "unreadable"
