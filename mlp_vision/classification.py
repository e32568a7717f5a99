"""Image classification: the task that the training engine runs, and its setting up."""

import dataclasses
from pathlib import Path

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax
from clu import metrics
from ml_collections import ConfigDict

from mlp_core import train_loop
from mlp_core.array_source import ArraySource
from mlp_core.config import parse_config
from mlp_core.console import say
from mlp_core.errors import UserError
from mlp_core.precision import compute_dtype
from mlp_core.run_directory import check_run_directory, save_config
from mlp_core.task import Batch, Params
from mlp_vision import augmentation
from mlp_vision.config import ImageClassificationConfig, ModelConfig
from mlp_vision.datasets.image_dataset import ImageDataset, check_split, open_image_dataset
from mlp_vision.mixer import check_patch_size
from mlp_vision.models import create_model
from mlp_vision.pretrained import check_params, load_params
from mlp_vision.published_weights import locate_weights

METRICS = ("loss", "top1", "top5")


@flax.struct.dataclass
class ClassificationMetrics(metrics.Collection):
    """Mean loss and accuracies, each row weighed by `mask`."""

    loss: metrics.Average.from_output("loss")
    top1: metrics.Average.from_output("top1")
    top5: metrics.Average.from_output("top5")


@dataclasses.dataclass(frozen=True)
class ImageClassification:
    """Pictures with one label each: softmax cross-entropy, top-1 and top-5 accuracy."""

    config: ImageClassificationConfig
    model: nn.Module
    weights: Path | None
    train_source: ArraySource
    eval_sources: dict[str, ArraySource]

    def init_params(self, rng: jax.Array) -> Params:
        """Random initial parameters; the head is zero."""
        size = self.config.data.image_size
        return self.model.init(rng, jnp.zeros((1, size, size, 3)))["params"]

    def published_params(self) -> Params | None:
        """Parameters from the configured weight file, or None."""
        if self.weights is None:
            return None
        config = self.config
        return load_params(self.weights, self.model, config.data.image_size, config.init.head)

    def augment(self, batch: Batch, rng: jax.Array) -> Batch:
        """Random views of uint8 pictures, in the model's value range."""
        config = self.config
        images = augmentation.train_views(
            rng,
            batch["image"],
            config.data.image_size,
            crop=config.augment.crop,
            min_area=config.augment.crop_min_area,
            flip=config.augment.flip,
        )
        return {
            "image": self._to_model_input(images),
            "label": batch["label"],
        }

    def loss(self, params: Params, batch: Batch, rng: jax.Array) -> tuple[jax.Array, dict]:
        """Mean softmax cross-entropy, and the share of right answers."""
        logits = self.model.apply(
            {"params": params}, batch["image"], train=True, rngs={"dropout": rng}
        )
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
        right = logits.argmax(-1) == batch["label"]
        return losses.mean(), {"top1": right.mean()}

    def evaluate(self, params: Params, batch: Batch) -> ClassificationMetrics:
        """Loss, top-1 and top-5 of a host batch under the configured eval preset."""
        preset = augmentation.EVAL_PRESETS[self.config.data.eval_preset]
        images = self._to_model_input(preset(batch["image"], self.config.data.image_size))
        logits, labels = self.model.apply({"params": params}, images), batch["label"]
        _, best = jax.lax.top_k(logits, min(5, logits.shape[-1]))
        return ClassificationMetrics.single_from_model_output(
            loss=optax.softmax_cross_entropy_with_integer_labels(logits, labels),
            top1=(logits.argmax(-1) == labels).astype(jnp.float32),
            top5=(best == labels[:, None]).any(-1).astype(jnp.float32),
            mask=batch["mask"].astype(bool),
        )

    def _to_model_input(self, images: jax.Array) -> jax.Array:
        images = augmentation.to_value_range(images, self.config.data.value_range)
        return images.astype(self.model.dtype)


def train(config: ConfigDict, workdir: Path, dry_run: bool = False) -> dict[str, float]:
    """Runs the experiment in `workdir` and returns the last evaluation by metric name.

    Checks come before downloads, downloads before compilation. A dry run ends after them.

    Raises:
        UserError: something in the configuration, the data or the weights is wrong or missing.
    """
    settings = parse_config(ImageClassificationConfig, config)
    _check(settings)
    check_run_directory(workdir, config)
    dataset, weights = _fetch(settings)
    model = _build_model(settings, dataset)
    if weights is not None:
        check_params(weights, model, settings.data.image_size, settings.init.head)
    if dry_run:
        say("Dry run: configuration, data and weights are in order; nothing was trained.")
        return {}
    save_config(workdir, config)
    task = ImageClassification(
        config=settings,
        model=model,
        weights=weights,
        train_source=dataset.load(settings.data.train_split),
        eval_sources={
            name: dataset.load(split) for name, split in settings.data.eval_splits.items()
        },
    )
    return train_loop.train(task, settings, workdir)


def _check(settings: ImageClassificationConfig) -> None:
    """What can be known to be wrong before anything is fetched."""
    train_loop.check_batch_sizes(settings)
    model = create_model(settings.model.name, 1, **_sizes(settings.model))
    size = settings.data.image_size
    try:
        check_patch_size(model.patch_size, (size, size))
    except UserError as error:
        raise UserError(f"config.data.image_size, config.model.patch_size: {error}") from None
    low, high = settings.data.value_range
    if low >= high:
        raise UserError(f"config.data.value_range: {low} to {high} is no range; set low < high.")
    names = [f"{split}/{metric}" for split in settings.data.eval_splits for metric in METRICS[1:]]
    if settings.evaluation.best_metric not in names:
        raise UserError(
            f"config.evaluation.best_metric: {settings.evaluation.best_metric!r} is not measured; "
            f"choose from {', '.join(names)}."
        )


def _fetch(settings: ImageClassificationConfig) -> tuple[ImageDataset, Path | None]:
    """Data set and weight file, downloaded where need be; tells all that is missing at once."""
    problems = []
    dataset = weights = None
    try:
        dataset = open_image_dataset(settings.data.name, settings.data.data_dir)
        check_split("config.data.train_split", dataset, settings.data.train_split)
        for name, split in settings.data.eval_splits.items():
            check_split(f"config.data.eval_splits.{name}", dataset, split)
    except UserError as error:
        problems.append(str(error))
    try:
        if settings.init.weights is not None:
            weights = locate_weights(settings.init.weights, settings.init.mirror)
    except UserError as error:
        problems.append(str(error))
    if problems:
        problems.append("(configs/mixer_digits.py needs no download.)")
        raise UserError("\n".join(problems))
    return dataset, weights


def _build_model(settings: ImageClassificationConfig, dataset: ImageDataset) -> nn.Module:
    """The configured model, as wide at the end as the data set has classes."""
    in_data = dataset.builder.info.features["label"].num_classes
    num_classes = settings.model.num_classes or in_data
    if num_classes < in_data:
        raise UserError(
            f"config.model.num_classes: {num_classes} is too few for {dataset.name}, which has "
            f"{in_data} classes; leave it unset."
        )
    return create_model(
        settings.model.name,
        num_classes,
        gelu=settings.model.gelu,
        layer_norm_epsilon=settings.model.layer_norm_epsilon,
        dropout_rate=settings.model.dropout_rate,
        stochastic_depth=settings.model.stochastic_depth,
        dtype=compute_dtype(settings.train.compute_dtype),
        **_sizes(settings.model),
    )


def _sizes(model: ModelConfig) -> dict[str, int]:
    """The sizes that the configuration sets itself."""
    names = ("patch_size", "hidden_dim", "num_blocks", "tokens_mlp_dim", "channels_mlp_dim")
    sizes = {name: getattr(model, name) for name in names}
    return {name: value for name, value in sizes.items() if value is not None}
