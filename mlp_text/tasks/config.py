"""Settings of a text experiment, in addition to those of every run."""

from typing import Annotated, Literal

import pydantic
from pydantic import Field

from mlp_core.config import (
    DataConfig,
    Fraction,
    NonNegativeFloat,
    NonNegativeInt,
    NumBlocks,
    PositiveFloat,
    PositiveInt,
    RunConfig,
    frozen_settings,
)
from mlp_text.models.model_spec import BertFeatures, Gating, Gelu, Pooling, SpatialMatrix

Probability = Annotated[float, Field(ge=0, le=1)]


@frozen_settings
class ModelConfig:
    """A model by name; fields that are None default to those of the name or the weights."""

    name: str
    hidden_dim: PositiveInt | None
    num_blocks: NumBlocks | None
    num_heads: PositiveInt | None
    ffn_dim: PositiveInt | None
    gating: Gating | None
    spatial_matrix: SpatialMatrix | None
    tiny_attention_dim: NonNegativeInt | None
    segments: bool | None
    mask_pads: bool | None
    gelu: Gelu | None
    layer_norm_epsilon: PositiveFloat | None
    gate_layer_norm_epsilon: PositiveFloat | None
    pooling: Pooling
    dropout_rate: Fraction
    attention_dropout_rate: Fraction
    head_dropout_rate: Fraction
    stochastic_depth: Fraction


@frozen_settings
class InitConfig:
    """Source of the initial parameters."""

    weights: str | None


@frozen_settings
class BertConfig:
    """A BERT whose states replace a gMLP's word embeddings."""

    name: str | None
    weights: str | None
    features: BertFeatures
    rate_factor: NonNegativeFloat


@frozen_settings
class TokenizerConfig:
    """Tokenizer: an existing vocabulary, or one trained on the training text."""

    path: str | None
    lowercase: bool | None
    kind: Literal["wordpiece", "unigram"]
    vocab_size: Annotated[int, Field(ge=100, lt=2**31)]


@frozen_settings
class TextDataConfig(DataConfig):
    """Text data, its splits and sequence length."""

    name: str | None
    data_dir: str | None
    made_files_dir: str | None
    train_split: str
    eval_splits: dict[str, str]
    max_length: PositiveInt | None


@frozen_settings
class MaskingConfig:
    """Which tokens masked-LM training predicts, and what replaces them."""

    rate: Annotated[float, Field(gt=0, lt=1)]
    mask_share: Probability
    random_share: Probability
    slots: PositiveInt | None
    whole_words: bool
    packing: Literal["packed", "document"]

    @pydantic.model_validator(mode="after")
    def _check(self):
        if self.mask_share + self.random_share > 1:
            raise ValueError("mask_share and random_share add up to more than 1")
        return self


@frozen_settings
class TextConfig(RunConfig):
    """A complete text experiment."""

    task: Literal["text_classification", "masked_lm"]
    model: ModelConfig
    init: InitConfig
    bert: BertConfig
    tokenizer: TokenizerConfig
    data: TextDataConfig
    masking: MaskingConfig
