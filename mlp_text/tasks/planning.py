"""Planning of a text experiment: a run's task without text, vocabulary and weights."""

import dataclasses
from collections.abc import Mapping

import jax
import numpy as np
from ml_collections import ConfigDict

from mlp_core.config import parse_config
from mlp_core.data.splits import Splits, check_splits
from mlp_core.data.tfds.prepared import find_prepared, is_own_folder
from mlp_core.errors import UserError
from mlp_core.planning.planned_run import CountedExamples, KnownDataset, PlannedRun, on_platform
from mlp_core.process.user_paths import user_path
from mlp_core.train.task import Task
from mlp_text.data.synthetic import SYNTHETIC
from mlp_text.data.text_dataset import OWN_BUILDERS, open_text_dataset
from mlp_text.models.model_spec import EncoderSpec, TextModelSpec
from mlp_text.tasks.config import TextConfig
from mlp_text.tasks.corpus_data import CorpusData
from mlp_text.tasks.experiment import (
    build_model,
    known_tokenizer,
    source_of_weights,
    with_rate_of_bert,
)
from mlp_text.tasks.labelled_data import LabelledData
from mlp_text.tasks.model_from_config import check_fields, wanted_encoder
from mlp_text.tasks.text_classification import TextClassification
from mlp_text.weights.loading import TextWeights, weights_before_fetching

KNOWN = {
    dataset.name: dataset
    for dataset in (
        KnownDataset("glue/sst2", 2, {"train": 67_349, "validation": 872, "test": 1_821}),
        KnownDataset(
            "glue/mnli",
            3,
            {
                "train": 392_702,
                "validation_matched": 9_815,
                "validation_mismatched": 9_832,
                "test_matched": 9_796,
                "test_mismatched": 9_847,
            },
        ),
    )
}
TOKENS = {"input_ids": np.int32, "attention_mask": np.uint8, "token_type_ids": np.uint8}


@dataclasses.dataclass(frozen=True)
class StandInVocabulary:
    """The part of `Tokenizer` that masking uses; step costs do not depend on the words."""

    vocab_size: int
    pad_id: int = 0
    mask_id: int = 1
    special_ids: tuple[int, ...] = (0, 1, 2, 3, 4)

    @property
    def continuation(self) -> np.ndarray:
        """All False: each token is a word."""
        return np.zeros(self.vocab_size, bool)


def planned_run(config: ConfigDict, num_examples: int | None, platform: str) -> PlannedRun:
    """Returns the planned run of `config` on devices of `platform`, without downloads.

    Args:
      config: the experiment.
      num_examples: number of training examples, overriding that of the data set.
      platform: "tpu", "gpu" or "cpu".

    Raises:
        UserError: the configuration is invalid, or too little is known of the data or the weights.
    """
    settings = on_platform(parse_config(TextConfig, config), platform)
    check_fields(settings)
    encoder = _encoder(settings)
    of_task = _masked_lm if settings.task == "masked_lm" else _classification
    return of_task(settings, encoder, num_examples)


def _masked_lm(settings: TextConfig, encoder: EncoderSpec, num_examples: int | None) -> PlannedRun:
    spec = TextModelSpec(encoder=encoder, head=CorpusData.HEAD)
    CorpusData.check_settings(settings, spec.max_length)
    task = CorpusData(settings, {}).task_of(
        spec,
        build_model(settings, spec),
        StandInVocabulary(encoder.vocab_size),
        train_source=None,
        eval_sources={},
        start=lambda: None,
    )
    example = {
        "input_ids": jax.ShapeDtypeStruct((spec.max_length,), np.int32),
        "index": jax.ShapeDtypeStruct((), np.int32),
    }
    return _of_sequences(settings, task, settings.data.train_split, num_examples, example)


def _classification(
    settings: TextConfig, encoder: EncoderSpec, num_examples: int | None
) -> PlannedRun:
    dataset = _dataset(settings)
    check_splits(dataset, settings.data.train_split, settings.data.eval_splits)
    spec = TextModelSpec(
        encoder=encoder,
        head=LabelledData.HEAD,
        pooling=settings.model.pooling,
        num_classes=dataset.num_classes,
    )
    num_examples = num_examples or dataset.num_examples(settings.data.train_split)
    task = TextClassification(
        build_model(settings, spec), spec.max_length, CountedExamples(num_examples), {}
    )
    shape = (spec.max_length,)
    example = {name: jax.ShapeDtypeStruct(shape, kind) for name, kind in TOKENS.items()}
    example["label"] = jax.ShapeDtypeStruct((), np.int32)
    settings = with_rate_of_bert(settings, spec)
    return _of_sequences(settings, task, settings.data.name, num_examples, example)


def _of_sequences(
    settings: TextConfig,
    task: Task,
    data: str,
    num_examples: int | None,
    example: Mapping[str, jax.ShapeDtypeStruct],
) -> PlannedRun:
    """Returns the run of `task` on the data set `data`, with examples shaped like `example`."""
    return PlannedRun(
        settings=settings,
        task=task,
        title=f"{settings.model.name} on {data}",
        unit="sequences",
        num_examples=num_examples,
        train_example=example,
        eval_example=example,
    )


def _encoder(settings: TextConfig) -> EncoderSpec:
    """Returns the configured encoder, with sizes of weights that are on this machine."""
    weights = _weights_here(settings)
    tokenizer = known_tokenizer(settings, weights)
    vocab_size = tokenizer.vocab_size if tokenizer else settings.tokenizer.vocab_size
    return wanted_encoder(settings, weights.spec.encoder if weights else None, vocab_size)


def _weights_here(settings: TextConfig) -> TextWeights | None:
    source = source_of_weights(settings)
    is_here = source and user_path(source).exists()
    return weights_before_fetching(source) if is_here else None


def _dataset(settings: TextConfig) -> Splits:
    """Returns the known splits of a labelled data set."""
    data = settings.data
    LabelledData.check_settings(settings, 0)
    is_here = data.name in SYNTHETIC or is_own_folder(data.name, OWN_BUILDERS)
    if is_here or find_prepared(data.name, data.data_dir):
        return open_text_dataset(data.name, data.data_dir)
    if data.name not in KNOWN:
        raise UserError(
            f"config.data.name: {data.name} is not on this machine and nothing is known of it; "
            "launch/prepare.py prepares it."
        )
    return KNOWN[data.name]
