"""A data set of which only the figures are known."""

import dataclasses
from collections.abc import Mapping

from mlp_core.data.splits import parts_of


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
