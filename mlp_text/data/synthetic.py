"""Made texts for smoke runs and tests: no download, no disk, and something to learn."""

import dataclasses
from collections.abc import Callable

import numpy as np

from mlp_core.data.splits import parts_of
from mlp_text.data.labelled_texts import LabelledTexts

SIZES = {"train": 512, "validation": 100}
SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprst" for vowel in "aeiou"]
WORDS = [first + second for first in SYLLABLES[::3] for second in SYLLABLES[::12]]  # 100
NOT = "zu"


@dataclasses.dataclass(frozen=True)
class SyntheticTexts:
    """Sentences of made words, always the same; `make` draws the texts of a label."""

    name: str
    text_features: tuple[str, ...]
    class_names: list[str]
    make: Callable[[int, np.random.Generator], tuple[str, ...]]

    @property
    def num_classes(self) -> int:
        """How many different labels there are."""
        return len(self.class_names)

    @property
    def splits(self) -> list[str]:
        """The names of the splits."""
        return list(SIZES)

    def num_examples(self, split: str) -> int:
        """How many examples a split such as "train[:98%]" has; ValueError if there is none."""
        parts = parts_of(split, SIZES, SIZES.get)
        return sum(len(range(SIZES[name])[cut]) for name, cut in parts)

    def load(self, split: str) -> LabelledTexts:
        """The examples of a split; ValueError if there is none."""
        rows = []
        for name, cut in parts_of(split, SIZES, SIZES.get):
            rng = np.random.default_rng(list(SIZES).index(name))
            labels = [i % self.num_classes for i in range(SIZES[name])]
            rows += [(*self.make(label, rng), label) for label in labels][cut]
        *columns, labels = map(list, zip(*rows, strict=True))
        pairs = columns[1] if len(columns) == 2 else None
        return LabelledTexts(columns[0], pairs, np.array(labels, np.int32))


def _make_sentence(label: int, rng: np.random.Generator) -> tuple[str]:
    """Four to ten words: two or three that speak for the label, one for the other, and more."""
    speaking = [WORDS[:30], WORDS[30:60]]
    words = [
        *rng.choice(speaking[label], rng.integers(2, 4)),
        rng.choice(speaking[1 - label]),
        *rng.choice(WORDS[60:], rng.integers(1, 7)),
    ]
    return (" ".join(rng.permutation(words)),)


def _make_pair(label: int, rng: np.random.Generator) -> tuple[str, str]:
    """A sentence; and words of it, or others that no first sentence has, or a denial of it."""
    premise = rng.choice(WORDS[:60], 6, replace=False)
    words = [premise[:4], rng.choice(WORDS[60:], 4), [NOT, *premise[:3]]][label]
    return " ".join(premise), " ".join(words)


SYNTHETIC = {
    dataset.name: dataset
    for dataset in (
        SyntheticTexts("synthetic_text", ("sentence",), ["negative", "positive"], _make_sentence),
        SyntheticTexts(
            "synthetic_text/pair",
            ("premise", "hypothesis"),
            ["entailment", "neutral", "contradiction"],
            _make_pair,
        ),
    )
}
