"""Learnable synthetic texts for smoke runs and tests, without download or disk."""

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
    """Deterministic sentences of made-up words; `make` draws the texts of a label."""

    name: str
    text_features: tuple[str, ...]
    class_names: list[str]
    make: Callable[[int, np.random.Generator], tuple[str, ...]]

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def splits(self) -> list[str]:
        """Names of the splits."""
        return list(SIZES)

    def num_examples(self, split: str) -> int:
        """Number of examples of a split such as "train[:98%]"; ValueError if unknown."""
        parts = parts_of(split, SIZES, SIZES.get)
        return sum(len(range(SIZES[name])[cut]) for name, cut in parts)

    def load(self, split: str) -> LabelledTexts:
        """Returns the examples of a split; ValueError if unknown."""
        rows = []
        for name, cut in parts_of(split, SIZES, SIZES.get):
            rng = np.random.default_rng(list(SIZES).index(name))
            labels = [i % self.num_classes for i in range(SIZES[name])]
            rows += [(*self.make(label, rng), label) for label in labels][cut]
        *columns, labels = map(list, zip(*rows, strict=True))
        pairs = columns[1] if len(columns) == 2 else None
        return LabelledTexts(columns[0], pairs, np.array(labels, np.int32))


def _make_sentence(label: int, rng: np.random.Generator) -> tuple[str]:
    """Draws four to ten words: two or three of the label, one of the other, and fillers."""
    speaking = [WORDS[:30], WORDS[30:60]]
    words = [
        *rng.choice(speaking[label], rng.integers(2, 4)),
        rng.choice(speaking[1 - label]),
        *rng.choice(WORDS[60:], rng.integers(1, 7)),
    ]
    return (" ".join(rng.permutation(words)),)


def _make_pair(label: int, rng: np.random.Generator) -> tuple[str, str]:
    """Draws a sentence, and words of it, words in no first sentence, or its negation."""
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
