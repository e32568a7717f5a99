"""Image classification: the task that the training engine runs."""

import dataclasses
from pathlib import Path

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax
from clu import metrics

from mlp_core.source import Source
from mlp_core.task import Batch, Params
from mlp_vision import augmentation
from mlp_vision.config import ImageClassificationConfig
from mlp_vision.pretrained import load_params

ACCURACIES = ("top1", "top5")


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
    train_source: Source
    eval_sources: dict[str, Source]
    views_on_host: bool = False  # Pictures arrive N x N, cropped.

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
        crop = "none" if self.views_on_host else config.augment.crop
        images = augmentation.train_views(
            rng,
            batch["image"],
            config.data.image_size,
            crop=crop,
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
        data = self.config.data
        preset = "squash" if self.views_on_host else data.eval_preset
        images = augmentation.eval_view(batch["image"], data.image_size, preset)
        images = self._to_model_input(images)
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
