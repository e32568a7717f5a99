"""Labelled sentences, or pairs of them, as the data of an experiment."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import ClassVar

import flax.linen as nn

from mlp_core.array_source import ArraySource
from mlp_core.console import say
from mlp_core.datasets.splits import check_splits
from mlp_core.errors import UserError
from mlp_core.source import Source
from mlp_core.task import Params
from mlp_text.config import TextConfig
from mlp_text.datasets.text_dataset import TextDataset, open_text_dataset
from mlp_text.model_spec import EncoderSpec, TextModelSpec
from mlp_text.text_classification import TextClassification
from mlp_text.tokenizer import Tokenizer


@dataclasses.dataclass(frozen=True)
class LabelledData:
    """A data set for `TextClassification`."""

    MEASURES: ClassVar[tuple[str, ...]] = ("accuracy",)  # Of which more is better.

    settings: TextConfig
    dataset: TextDataset

    @classmethod
    def open(cls, settings: TextConfig) -> "LabelledData":
        """Finds the data set, or downloads and prepares it where a builder of ours can.

        Raises:
            UserError: it cannot be had, or has not the splits that the configuration names.
        """
        data = settings.data
        dataset = open_text_dataset(data.name, data.data_dir)
        check_splits(dataset, data.train_split, data.eval_splits)
        return cls(settings, dataset)

    def training_texts(self) -> Iterator[str]:
        """The sentences to make a vocabulary of."""
        examples = self.dataset.load(self.settings.data.train_split)
        yield from examples.texts
        yield from examples.pairs or ()

    def spec(self, encoder: EncoderSpec) -> TextModelSpec:
        """The model for these labels."""
        return TextModelSpec(
            encoder=encoder,
            head="classification",
            pooling=self.settings.model.pooling,
            num_classes=self.dataset.num_classes,
            class_names=tuple(self.dataset.class_names),
            takes_pairs=len(self.dataset.text_features) == 2,
        )

    def source(self, split: str, tokenizer: Tokenizer, max_length: int) -> Source:
        """A split's examples as tokens, in memory: `input_ids` [B, S] and so on, and `label`.

        Raises:
            UserError: a file or a text cannot be read, or examples have no label.
        """
        examples = self.dataset.load(split)
        tokens = tokenizer.encode(examples.texts, examples.pairs, max_length)
        full = int(tokens["attention_mask"].all(axis=1).sum())
        if full:
            share = 100 * full / len(examples.texts)
            say(f"{self.dataset.name} {split}: {share:.1f} % are {max_length} tokens long or cut")
        return ArraySource(tokens | {"label": examples.labels})

    def task(
        self,
        spec: TextModelSpec,
        model: nn.Module,
        tokenizer: Tokenizer,
        start: Callable[[], Params | None],
    ) -> TextClassification:
        """What a run trains.

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


def check_classes(source: str, spec: TextModelSpec, dataset: TextDataset) -> None:
    """Refuses a classifier whose logits do not stand for the classes of the data set.

    Raises:
        UserError: names `source` and says how they differ.
    """
    there, wanted = list(spec.class_names), list(dataset.class_names)
    if spec.head != "classification":
        raise UserError(
            f"{source}: these weights have no head for the classes of {dataset.name}; fine-tune "
            "them first."
        )
    if there != wanted:
        raise UserError(
            f"{source}: its head is for the classes {', '.join(there)}, {dataset.name} has "
            f"{', '.join(wanted)}, in this order."
        )
    if spec.takes_pairs != (len(dataset.text_features) == 2):
        kind = "pairs of texts" if spec.takes_pairs else "single texts"
        raise UserError(f"{source}: these weights are for {kind}, which {dataset.name} is not.")
