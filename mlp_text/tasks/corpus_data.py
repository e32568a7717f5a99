"""Corpora as the data of a masked-LM experiment: blocks of tokens on disk."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import flax.linen as nn

from mlp_core.data.sources import Source
from mlp_core.errors import UserError
from mlp_core.process.user_paths import user_path
from mlp_core.train.task import Params
from mlp_text.corpus.block_source import BlockSource
from mlp_text.corpus.blocks import BlockLayout, Shard
from mlp_text.corpus.build import build_corpus, corpus_name
from mlp_text.corpus.sources import open_corpus
from mlp_text.models.model_spec import EncoderSpec, TextModelSpec
from mlp_text.tasks.config import TextConfig
from mlp_text.tasks.made_vocabulary import made_files_dir
from mlp_text.tasks.masked_lm import MaskedLanguageModelling, unigram_perplexity
from mlp_text.tasks.masking import Masking
from mlp_text.tokens.tokenizer import Tokenizer
from mlp_text.tokens.vocabulary import MAX_CHARACTERS

EVAL_SEED = 0  # For evaluation masks, independent of the run's seed.


@dataclasses.dataclass(frozen=True)
class CorpusData:
    """The corpora of the configured splits."""

    HEAD: ClassVar[str] = "masked_lm"  # Head of models trained on it.
    MEASURES: ClassVar[tuple[str, ...]] = ("masked_accuracy",)  # Higher is better.
    BASELINE: ClassVar[str] = "the unigram model, which knows how frequent tokens are"

    settings: TextConfig
    shards: Mapping[str, list[Shard]]  # By corpus name.

    @staticmethod
    def check_settings(settings: TextConfig, max_length: int) -> None:
        """Checks the settings before the data are opened.

        Raises:
            UserError: there are more prediction slots than tokens in a sequence.
        """
        wanted = settings.masking.slots
        if wanted and wanted > max_length:
            raise UserError(
                f"config.masking.slots: {wanted} are more than the {max_length} tokens of a "
                "sequence."
            )

    @classmethod
    def open(cls, settings: TextConfig, splits: Mapping[str, str]) -> "CorpusData":
        """Finds the corpora; reads nothing yet.

        Args:
          settings: the experiment.
          splits: corpora by their configuration field.

        Raises:
            MissingError: a corpus is not on this machine.
            UserError: a corpus name cannot be parsed, or a corpus cannot be opened.
        """
        shards, data_dir = {}, settings.data.data_dir
        for field, corpus in splits.items():
            try:
                shards[corpus] = open_corpus(corpus, data_dir and str(user_path(data_dir)))
            except UserError as error:
                raise type(error)(f"{field}: {error}") from error
        return cls(settings, shards)

    def training_texts(self) -> Iterator[str]:
        """Yields documents from the beginning of each training shard, of equal total length."""
        shards = self._training_shards
        most = MAX_CHARACTERS // len(shards)
        for shard in shards:
            taken = 0
            for entry in shard.entries():
                if taken >= most:
                    break
                taken += len(entry.text)
                yield entry.text

    def text_identity(self) -> Iterator[str]:
        """See `TrainingText`."""
        return (shard.identity() for shard in self._training_shards)

    def spec(self, encoder: EncoderSpec) -> TextModelSpec:
        """Returns the specification of a model for these corpora."""
        return TextModelSpec(encoder=encoder, head=self.HEAD)

    def for_model(self, source: str, spec: TextModelSpec) -> "CorpusData":
        """Returns the same data, which suit every masked-LM model.

        Raises:
            UserError: the model has another head; names `source`.
        """
        if spec.head != self.HEAD:
            raise UserError(f"{source}: these weights have no masked-LM head.")
        return self

    def source(self, corpus: str, tokenizer: Tokenizer, max_length: int) -> BlockSource:
        """Returns the blocks of a corpus, tokenising it first if needed.

        Raises:
            UserError: see `build_corpus`.
        """
        layout = self._layout(tokenizer, max_length)
        folder = self.folder(corpus, tokenizer, max_length)
        return build_corpus(self.shards[corpus], tokenizer, layout, folder)

    def folder(self, corpus: str, tokenizer: Tokenizer, max_length: int) -> Path:
        """Returns the directory of a corpus's blocks, which need not exist yet."""
        layout = self._layout(tokenizer, max_length)
        name = corpus_name(self.shards[corpus], tokenizer, layout)
        return made_files_dir(self.settings.data.made_files_dir) / "corpora" / name

    def eval_step(self, spec: TextModelSpec, model: nn.Module, tokenizer: Tokenizer) -> Callable:
        """Returns the evaluation step `eval_step(params, batch)`."""
        return self.task_of(spec, model, tokenizer, None, {}, lambda: None).evaluate

    def task(
        self,
        spec: TextModelSpec,
        model: nn.Module,
        tokenizer: Tokenizer,
        start: Callable[[], Params | None],
    ) -> MaskedLanguageModelling:
        """Returns the training task of a run.

        Raises:
            UserError: see `source`.
        """
        data, source = self.settings.data, functools.partial(self.source, tokenizer=tokenizer)
        train_source = source(data.train_split, max_length=spec.max_length)
        evaluated = {n: source(s, max_length=spec.max_length) for n, s in data.eval_splits.items()}
        return self.task_of(spec, model, tokenizer, train_source, evaluated, start)

    def baselines(self, task: MaskedLanguageModelling) -> dict[str, float]:
        """Returns the perplexity of the unigram model on the same masked tokens."""
        counts = task.train_source.token_counts()
        return {
            f"{name}/perplexity": unigram_perplexity(counts, source, task.masking, EVAL_SEED)
            for name, source in task.eval_sources.items()
        }

    def task_of(
        self,
        spec: TextModelSpec,
        model: nn.Module,
        tokenizer: Tokenizer,
        train_source: Source | None,
        eval_sources: Mapping[str, Source],
        start: Callable[[], Params | None],
    ) -> MaskedLanguageModelling:
        """Returns the training task of a run on these blocks."""
        return MaskedLanguageModelling(
            model=model,
            masking=_masking(self.settings, tokenizer, spec.max_length),
            pad_id=tokenizer.pad_id,
            max_length=spec.max_length,
            train_source=train_source,
            eval_sources=eval_sources,
            eval_seed=EVAL_SEED,
            start=start,
        )

    @property
    def _training_shards(self) -> list[Shard]:
        return self.shards[self.settings.data.train_split]

    def _layout(self, tokenizer: Tokenizer, max_length: int) -> BlockLayout:
        return BlockLayout.of(tokenizer, max_length, self.settings.masking.packing)


def _masking(settings: TextConfig, tokenizer: Tokenizer, max_length: int) -> Masking:
    masking = settings.masking
    slots = masking.slots or math.ceil(masking.rate * max_length)
    return Masking(
        rate=masking.rate,
        mask_share=masking.mask_share,
        random_share=masking.random_share,
        num_slots=slots,
        whole_word=masking.whole_words,
        vocab_size=tokenizer.vocab_size,
        mask_id=tokenizer.mask_id,
        special_ids=tokenizer.special_ids,
        continuation=tokenizer.continuation,
    )
