"""Labelled sentences or sentence pairs as the data of an experiment."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar

import flax.linen as nn
import numpy as np

from mlp_core.data.classes import assumed_order, names_for_labels, numbers_in
from mlp_core.data.sources import ArraySource, Source
from mlp_core.data.splits import check_split
from mlp_core.errors import UserError
from mlp_core.process.console import say
from mlp_core.train.task import Params
from mlp_text.data.labelled_texts import LabelledTexts
from mlp_text.data.text_dataset import TextDataset, open_text_dataset
from mlp_text.models.model_spec import EncoderSpec, TextModelSpec
from mlp_text.tasks.config import TextConfig
from mlp_text.tasks.text_classification import TextClassification, score_batch
from mlp_text.tokens.tokenizer import Tokenizer


@dataclasses.dataclass(frozen=True)
class LabelledData:
    """A data set for `TextClassification`."""

    HEAD: ClassVar[str] = "classification"  # Head of models trained on it.
    MEASURES: ClassVar[tuple[str, ...]] = ("accuracy",)  # Higher is better.
    BASELINE: ClassVar[str] = "naming the commonest class every time"

    settings: TextConfig
    dataset: TextDataset
    class_names: tuple[str, ...]  # In label order.

    @staticmethod
    def check_settings(settings: TextConfig, max_length: int) -> None:
        """Checks the settings before the data are opened.

        Raises:
            UserError: no data set is named.
        """
        if settings.data.name is None:
            raise UserError("config.data.name: name a data set to classify, such as glue/sst2.")

    @classmethod
    def open(cls, settings: TextConfig, splits: Mapping[str, str]) -> "LabelledData":
        """Opens the data set, or downloads and prepares it if this project has a builder.

        Args:
          settings: the experiment.
          splits: the splits to read, by their configuration field.

        Raises:
            UserError: the data set is unavailable or lacks a split.
        """
        data = settings.data
        dataset = open_text_dataset(data.name, data.data_dir)
        for field, split in splits.items():
            check_split(field, dataset, split)
        return cls(settings, dataset, tuple(dataset.class_names))

    def training_texts(self) -> Iterator[str]:
        """Yields the training sentences."""
        examples = self._load(self.settings.data.train_split)
        return itertools.chain(examples.texts, examples.pairs or ())

    def text_identity(self) -> Iterator[str]:
        """See `TrainingText`."""
        return self.training_texts()

    def spec(self, encoder: EncoderSpec) -> TextModelSpec:
        """Returns the specification of a model for these labels."""
        return TextModelSpec(
            encoder=encoder,
            head=self.HEAD,
            pooling=self.settings.model.pooling,
            num_classes=len(self.class_names),
            class_names=self.class_names,
            takes_pairs=self._takes_pairs,
        )

    def for_model(self, source: str, spec: TextModelSpec) -> "LabelledData":
        """Returns the data with labels in a model's class order; see `mlp_core.data.classes`.

        Raises:
            UserError: the model has no head for these classes; names `source`.
        """
        if spec.head != self.HEAD:
            raise UserError(
                f"{source}: these weights have no head for the classes of {self.dataset.name}; "
                "fine-tune them first."
            )
        names = names_for_labels(source, spec, self.dataset)
        if spec.takes_pairs != self._takes_pairs:
            kind = "pairs of texts" if spec.takes_pairs else "single texts"
            raise UserError(
                f"{source}: these weights read {kind}, which {self.dataset.name} has not."
            )
        if line := assumed_order(source, spec, self.dataset):
            say(line)
        return dataclasses.replace(self, class_names=tuple(names))

    def source(self, split: str, tokenizer: Tokenizer, max_length: int) -> Source:
        """Returns a tokenised split in memory: `input_ids` [B, S] etc. and `label`.

        Raises:
            UserError: a file or a text cannot be read, or examples have no label.
        """
        examples = self._load(split)
        tokens = tokenizer.encode(examples.texts, examples.pairs, max_length)
        if full := int(tokens["attention_mask"].all(axis=1).sum()):
            say(
                f"{self.dataset.name}, {split}: {full:,} of {len(examples):,} texts fill all "
                f"{max_length} tokens or are cut there"
            )
        return ArraySource(tokens | {"label": examples.labels})

    def eval_step(self, spec: TextModelSpec, model: nn.Module, tokenizer: Tokenizer) -> Callable:
        """Returns the evaluation step `eval_step(params, batch)`."""
        return functools.partial(score_batch, model)

    def task(
        self,
        spec: TextModelSpec,
        model: nn.Module,
        tokenizer: Tokenizer,
        start: Callable[[], Params | None],
    ) -> TextClassification:
        """Returns the training task of a run.

        Raises:
            UserError: see `source`.
        """
        data = self.settings.data
        return TextClassification(
            model,
            spec.max_length,
            self.source(data.train_split, tokenizer, spec.max_length),
            {n: self.source(s, tokenizer, spec.max_length) for n, s in data.eval_splits.items()},
            start,
        )

    def baselines(self, task: TextClassification) -> dict[str, float]:
        """Returns the accuracy of the most frequent training class."""
        data = self.settings.data
        commonest = np.bincount(self._load(data.train_split).labels).argmax()
        return {
            f"{name}/accuracy": float((self._load(split).labels == commonest).mean())
            for name, split in data.eval_splits.items()
        }

    @property
    def _takes_pairs(self) -> bool:
        return len(self.dataset.text_features) == 2

    def _load(self, split: str) -> LabelledTexts:
        """Returns a split, read only once."""
        if split not in self._loaded:
            examples = self.dataset.load(split)
            numbers = np.array(numbers_in(self.class_names, self.dataset.class_names), np.int32)
            labels = numbers[examples.labels]
            self._loaded[split] = dataclasses.replace(examples, labels=labels)
        return self._loaded[split]

    @functools.cached_property
    def _loaded(self) -> dict[str, LabelledTexts]:
        return {}
