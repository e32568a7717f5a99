"""Image classification: the task that the training engine runs."""

import dataclasses

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax
from clu import metrics

from mlp_core.source import Source
from mlp_core.task import Batch, Params
from mlp_vision import augmentation
from mlp_vision.classifier import eval_view, model_input, view_logits
from mlp_vision.config import AugmentConfig
from mlp_vision.model_spec import ModelSpec
from mlp_vision.pretrained import Head, load_params
from mlp_vision.weights import Weights

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

    spec: ModelSpec
    model: nn.Module
    train_views: AugmentConfig
    train_source: Source
    eval_sources: dict[str, Source]
    views_on_host: bool = False  # Pictures arrive N x N, cropped.
    weights: Weights | None = None  # To start from; None for random parameters.
    head: Head = "auto"

    def init_params(self, rng: jax.Array) -> Params:
        """Random initial parameters; the head is zero."""
        size = self.spec.image_size
        return self.model.init(rng, jnp.zeros((1, size, size, 3)))["params"]

    def published_params(self) -> Params | None:
        """Parameters from the weights to start from, or None."""
        return None if self.weights is None else load_params(self.weights, self.spec, self.head)

    def augment(self, batch: Batch, rng: jax.Array) -> Batch:
        """Random views of uint8 pictures, in the model's value range."""
        images = augmentation.train_views(
            rng,
            batch["image"],
            self.spec.image_size,
            crop="none" if self.views_on_host else self.train_views.crop,
            min_area=self.train_views.crop_min_area,
            flip=self.train_views.flip,
        )
        return {
            "image": model_input(self.spec, self.model, images),
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
        return score_batch(self.spec, self.model, self.views_on_host, params, batch)


def score_batch(
    spec: ModelSpec, model: nn.Module, views_on_host: bool, params: Params, batch: Batch
) -> ClassificationMetrics:
    """Loss, top-1 and top-5 of a host batch.

    With `views_on_host` its pictures are N x N already, as the eval preset cuts them.
    """
    images, labels = batch["image"], batch["label"]
    if not views_on_host:
        images = eval_view(spec, images)
    logits = view_logits(spec, model, params, images)
    _, best = jax.lax.top_k(logits, min(5, logits.shape[-1]))
    return ClassificationMetrics.single_from_model_output(
        loss=optax.softmax_cross_entropy_with_integer_labels(logits, labels),
        top1=(logits.argmax(-1) == labels).astype(jnp.float32),
        top5=(best == labels[:, None]).any(-1).astype(jnp.float32),
        mask=batch["mask"].astype(bool),
    )
