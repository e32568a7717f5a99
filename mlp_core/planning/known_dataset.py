"""A data set of which only the figures are known."""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Self

from mlp_core.datasets.splits import parts_of
from mlp_core.errors import UserError


@dataclasses.dataclass(frozen=True)
class CountedExamples:
    """A source of which only the length is known."""

    count: int

    def __len__(self) -> int:
        """Number of examples."""
        return self.count


@dataclasses.dataclass(frozen=True)
class KnownDataset:
    """Examples with one label each, in splits; their number and that of the classes."""

    name: str
    num_classes: int
    sizes: Mapping[str, int]  # Examples by split.

    @property
    def splits(self) -> list[str]:
        """The names of the splits."""
        return list(self.sizes)

    @property
    def class_names(self) -> list[str]:
        """None is known."""
        return []

    def num_examples(self, split: str) -> int:
        """How many examples a split such as "train[:98%]" has; ValueError if there is none."""
        parts = parts_of(split, self.sizes, self.sizes.get)
        return sum(len(range(self.sizes[name])[cut]) for name, cut in parts)

    @classmethod
    def told(
        cls, name: str, num_classes: int | None, num_examples: int | None, splits: Iterable[str]
    ) -> Self:
        """One of which the user tells the figures, the same for each of its splits.

        Raises:
            UserError: one is missing.
        """
        if num_examples is None or num_classes is None:
            raise UserError(
                f"config.data.name: {name} is not on this machine and nothing is known of it; tell "
                "with --num_examples how many there are to train on, and how many classes."
            )
        names = re.findall(r"[A-Za-z]\w*", " ".join(splits))
        return cls(name, num_classes, dict.fromkeys(names, num_examples))
