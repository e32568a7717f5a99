"""TFDS builders for GLUE's SST-2 and MNLI, from the published archives.

Names, version, splits, features and example order match TFDS's own builder.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from mlp_core.data.tfds.archives import ArchiveBuilder, open_zipped
from mlp_core.errors import UserError
from mlp_core.weights.downloads import RemoteFile
from mlp_text.data.labelled_texts import NO_LABEL, is_unlabelled
from mlp_text.data.tables import decoded_lines, tab_separated

URL = "https://dl.fbaipublicfiles.com/glue/data"


class _Glue(ArchiveBuilder, skip_registration=True):
    """Base builder: a zip archive with one table per split."""

    VERSION = tfds.core.Version("2.0.0")
    summary: str
    members: dict[str, str]  # File in the archive, by split.
    text_columns: dict[str, str]  # Column, by feature.
    label_column: str
    classes: list[str]

    def _info(self) -> tfds.core.DatasetInfo:
        texts = {feature: tfds.features.Text() for feature in self.text_columns}
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.summary,
            homepage="https://gluebenchmark.com/",
            features=tfds.features.FeaturesDict(
                texts
                | {
                    "label": tfds.features.ClassLabel(names=self.classes),
                    "idx": np.int32,
                }
            ),
        )

    def _split_generators(self, dl_manager):
        path = self.fetch_archives()["all"]
        return {
            split: self._generate_examples(path, member) for split, member in self.members.items()
        }

    def _generate_examples(self, path: Path, member: str) -> Iterator[tuple[int, dict[str, Any]]]:
        with open_zipped(path, member) as file:
            lines = decoded_lines(file, f"{path}, {member}")
            header = tab_separated(next(lines, ""))
            absent = [column for column in self.text_columns.values() if column not in header]
            if absent:
                raise UserError(f"{path}: {member} has no column {absent[0]!r}.")
            columns = {feature: header.index(name) for feature, name in self.text_columns.items()}
            if self.label_column in header:  # Withheld in test splits.
                columns["label"] = header.index(self.label_column)
            for i, line in enumerate(lines):
                fields = tab_separated(line)
                # Like TFDS, extra fields are ignored and short rows skipped.
                if len(fields) > max(columns.values()):
                    row = {feature: fields[column] for feature, column in columns.items()}
                    yield i, row | {"label": self._label(row.get("label")), "idx": i}

    def _label(self, text: str | None) -> int:
        """Returns the index of a class given by index or by name."""
        if text is None or is_unlabelled(text):
            return NO_LABEL
        return self.classes.index(text) if text in self.classes else int(text)


class Sst2(_Glue, skip_registration=True):
    """Stanford Sentiment Treebank in GLUE: 67,349, 872 and 1,821 phrases from film reviews."""

    name = "glue"
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name="sst2", description="Phrases from film reviews.")
    ]
    summary = "Phrases from film reviews, negative or positive."
    archives = {
        "all": RemoteFile(
            f"{URL}/SST-2.zip",
            7_439_277,
            "d67e16fb55739c1b32cdce9877596db1c127dc322d93c082281f64057c16deaa",
        )
    }
    members = {
        "train": "SST-2/train.tsv",
        "validation": "SST-2/dev.tsv",
        "test": "SST-2/test.tsv",
    }
    text_columns = {"sentence": "sentence"}
    label_column = "label"
    classes = ["negative", "positive"]


class Mnli(_Glue, skip_registration=True):
    """Multi-Genre NLI in GLUE: 392,702 pairs of sentences; 9,815 matched, 9,832 mismatched."""

    name = "glue"
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name="mnli", description="Pairs of sentences in ten genres.")
    ]
    summary = "Whether a premise entails a hypothesis, contradicts it, or neither."
    archives = {
        "all": RemoteFile(
            f"{URL}/MNLI.zip",
            312_783_507,
            "e7c1d896d26ed6caf700110645df426cc2d8ebf02a5ab743d5a5c68ac1c83633",
        )
    }
    members = {
        "train": "MNLI/train.tsv",
        "validation_matched": "MNLI/dev_matched.tsv",
        "validation_mismatched": "MNLI/dev_mismatched.tsv",
        "test_matched": "MNLI/test_matched.tsv",
        "test_mismatched": "MNLI/test_mismatched.tsv",
    }
    text_columns = {"premise": "sentence1", "hypothesis": "sentence2"}
    label_column = "gold_label"
    classes = ["entailment", "neutral", "contradiction"]
