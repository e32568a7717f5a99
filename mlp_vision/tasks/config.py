"""Config of an image classification experiment, extending the common run config."""

from typing import Annotated, Literal

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
from mlp_vision.models.gmlp import Gating, Pooling, SpatialMatrix
from mlp_vision.models.model_spec import EvalPresetName, Output, ValueRange
from mlp_vision.models.permutations import Permutation
from mlp_vision.models.resnet import NumUnits

Probability = Annotated[float, Field(ge=0, le=1)]


@frozen_settings
class ModelConfig:
    """A model by name; None means the named model's size, or the weights' numerics."""

    name: str
    patch_size: PositiveInt | None
    hidden_dim: PositiveInt | None
    num_blocks: NumBlocks | None
    tokens_mlp_dim: PositiveInt | None
    channels_mlp_dim: PositiveInt | None
    ffn_dim: PositiveInt | None
    gating: Gating | None
    spatial_matrix: SpatialMatrix | None
    tiny_attention_dim: NonNegativeInt | None
    pooling: Pooling | None
    num_heads: PositiveInt | None
    mlp_dim: PositiveInt | None
    pre_logits: bool | None
    units: NumUnits | None
    width_factor: PositiveInt | None
    num_classes: PositiveInt | None
    gelu: Literal["tanh", "erf"] | None
    layer_norm_epsilon: PositiveFloat | None
    gate_layer_norm_epsilon: PositiveFloat | None
    dropout_rate: Fraction
    stochastic_depth: Fraction
    stochastic_depth_rescaled: bool


@frozen_settings
class InitConfig:
    """Source of the initial parameters."""

    weights: str | None
    mirror: str | None
    head: Literal["reset", "keep", "auto"]


@frozen_settings
class ImageDataConfig(DataConfig):
    """Image data and preprocessing."""

    name: str
    label: str | None
    data_dir: str | None
    train_split: str
    eval_splits: dict[str, str]
    image_size: PositiveInt
    eval_preset: EvalPresetName | None
    value_range: ValueRange | None
    permutation: Permutation | None
    permuted_patch: PositiveInt | None
    real_labels: str | None


@frozen_settings
class AugmentConfig:
    """Training augmentation."""

    crop: Literal["inception", "pad", "squash", "none"]
    crop_min_area: Annotated[float, Field(gt=0, le=1)]
    crop_padding: PositiveInt
    crop_from: PositiveInt | None = None
    flip: bool
    policy: Literal["none", "randaugment", "autoaugment_imagenet", "autoaugment_cifar10"]
    randaugment_layers: PositiveInt
    randaugment_magnitude: Annotated[float, Field(ge=0, le=30)]
    random_erasing: Probability
    mixup_alpha: NonNegativeFloat
    cutmix_alpha: NonNegativeFloat
    cutmix_probability: Probability

    @property
    def mixes(self) -> bool:
        """Whether images and their labels are mixed."""
        return self.mixup_alpha > 0 or self.cutmix_alpha > 0


@frozen_settings
class LossConfig:
    """Training loss and initial logits."""

    name: Output
    label_smoothing: Fraction
    head_bias: float


@frozen_settings
class ImageClassificationConfig(RunConfig):
    """A complete experiment."""

    task: Literal["image_classification"]
    model: ModelConfig
    init: InitConfig
    data: ImageDataConfig
    augment: AugmentConfig
    loss: LossConfig
