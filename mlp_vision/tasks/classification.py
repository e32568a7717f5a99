"""Image classification: losses, metrics, and the task that the training engine runs."""

import dataclasses
from typing import ClassVar

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax
from clu import metrics

from mlp_core.data.sources import Source
from mlp_core.train.task import Batch, Params
from mlp_vision.augment import augmentation
from mlp_vision.augment.mixing import mix, random_erasing
from mlp_vision.models.model_spec import ModelSpec, Output
from mlp_vision.models.permutations import permute
from mlp_vision.models.registry import TENSOR_PARALLEL
from mlp_vision.tasks.config import AugmentConfig
from mlp_vision.weights.loading import Weights
from mlp_vision.weights.pretrained import Head, load_params

ACCURACIES = ("top1", "top5")


def class_shares(labels: jax.Array, num_classes: int, label_smoothing: float = 0.0) -> jax.Array:
    """Returns labels as class shares, float32 [B, K], that sum to one.

    `labels` are integers [B], or shares [B, K] for mixed images. Smoothing spreads its share
    evenly over all K classes (arXiv:1512.00567, section 7).
    """
    shares = jax.nn.one_hot(labels, num_classes) if labels.ndim == 1 else labels
    return (1 - label_smoothing) * shares + label_smoothing / num_classes


def cross_entropies(output: Output, logits: jax.Array, shares: jax.Array) -> jax.Array:
    """Returns the loss per example, [B], for logits and class shares, [B, K].

    "softmax": one distribution over the classes. "sigmoid": binary cross-entropy per class, summed
    over classes, as in google-research/big_vision.
    """
    if output == "softmax":
        return optax.softmax_cross_entropy(logits, shares)
    return jnp.sum(optax.sigmoid_binary_cross_entropy(logits, shares), axis=-1)


def eval_view(spec: ModelSpec, images: jax.Array) -> jax.Array:
    """Applies the eval preset of `spec` to images [B, H, W, 3], 0 to 255; returns [B, N, N, 3]."""
    return augmentation.eval_view(images, spec.image_size, spec.eval_preset)


def model_input(spec: ModelSpec, model: nn.Module, views: jax.Array) -> jax.Array:
    """Converts views [B, N, N, 3], 0 to 255, to the model's value range, order and dtype."""
    views = permute(views, spec.permutation, spec.moved_patch)
    return augmentation.to_value_range(views, spec.value_range).astype(model.dtype)


def view_logits(spec: ModelSpec, model: nn.Module, params: Params, views: jax.Array) -> jax.Array:
    """Returns logits [B, K], float32, of views [B, N, N, 3], 0 to 255."""
    return model.apply({"params": params}, model_input(spec, model, views))


def probabilities(spec: ModelSpec, logits: jax.Array) -> jax.Array:
    """Converts logits [B, K] to probabilities that sum to one, or are independent (sigmoid)."""
    return {"softmax": jax.nn.softmax, "sigmoid": jax.nn.sigmoid}[spec.output](logits)


@flax.struct.dataclass
class ClassificationMetrics(metrics.Collection):
    """Mean loss and accuracies, with rows weighted by `mask`."""

    loss: metrics.Average.from_output("loss")
    top1: metrics.Average.from_output("top1")
    top5: metrics.Average.from_output("top5")


def _is_really_right(right: jax.Array, real: jax.Array, mask: jax.Array, **_) -> dict:
    """Accuracy on images that have ReaL labels."""
    return {"values": right, "mask": mask & real.any(-1)}


@flax.struct.dataclass
class ReassessedMetrics(metrics.Collection):
    """Adds `top1_real`: whether the top class is one of the ReaL labels."""

    loss: metrics.Average.from_output("loss")  # A collection does not inherit its metrics.
    top1: metrics.Average.from_output("top1")
    top5: metrics.Average.from_output("top5")
    top1_real: metrics.Average.from_fun(_is_really_right)


@dataclasses.dataclass(frozen=True)
class ImageClassification:
    """Images with one label each: cross-entropy, top-1 and top-5 accuracy.

    The loss is that of `spec.output`, softmax or sigmoid.
    """

    tensor_parallel: ClassVar = TENSOR_PARALLEL

    spec: ModelSpec
    model: nn.Module
    train_views: AugmentConfig
    train_source: Source
    eval_sources: dict[str, Source]
    train_views_on_host: bool = False  # Images arrive cropped, N x N.
    eval_views_on_host: bool = False
    label_smoothing: float = 0.0
    head_bias: float = 0.0  # Initial bias of a new head.
    weights: Weights | None = None  # Initial weights; None for random parameters.
    head: Head = "auto"

    def init_params(self, rng: jax.Array) -> Params:
        """Returns random initial parameters; the head is zero except for its bias."""
        size = self.spec.image_size
        params = self.model.init(rng, jnp.zeros((1, size, size, 3)))["params"]
        head = params["head"]
        return params | {"head": head | {"bias": head["bias"] + self.head_bias}}

    def published_params(self) -> Params | None:
        """Returns parameters from the initial weights, or None."""
        if self.weights is None:
            return None
        return load_params(self.weights, self.spec, self.head, self.head_bias)

    def augment(self, batch: Batch, rng: jax.Array) -> Batch:
        """Returns random views of uint8 images, in the model's value range.

        `label` becomes class shares, float32 [B, K], if images are mixed.
        """
        views, labels = self.train_views, batch["label"]
        views_rng, erase_rng, mix_rng = jax.random.split(rng, 3)
        images = augmentation.train_views(
            views_rng,
            batch["image"],
            self.spec.image_size,
            crop="none" if self.train_views_on_host else views.crop,
            min_area=views.crop_min_area,
            padding=views.crop_padding,
            crop_from=views.crop_from,
            flip=views.flip,
        )
        if views.random_erasing > 0:
            images = random_erasing(erase_rng, images, views.random_erasing)
        if views.mixes:
            images, labels = mix(
                mix_rng,
                images,
                class_shares(labels, self.spec.num_classes),
                mixup_alpha=views.mixup_alpha,
                cutmix_alpha=views.cutmix_alpha,
                cutmix_probability=views.cutmix_probability,
            )
        return {"image": model_input(self.spec, self.model, images), "label": labels}

    def loss(self, params: Params, batch: Batch, rng: jax.Array) -> tuple[jax.Array, dict]:
        """Returns the mean cross-entropy, and the share of images whose main class ranks first."""
        logits = self.model.apply(
            {"params": params}, batch["image"], train=True, rngs={"dropout": rng}
        )
        shares = class_shares(batch["label"], self.spec.num_classes, self.label_smoothing)
        losses = cross_entropies(self.spec.output, logits, shares)
        right = logits.argmax(-1) == shares.argmax(-1)
        return losses.mean(), {"top1": right.mean()}

    def evaluate(self, params: Params, batch: Batch) -> ClassificationMetrics | ReassessedMetrics:
        """Returns loss and accuracies of a host batch under the configured eval preset."""
        return score_batch(self.spec, self.model, self.eval_views_on_host, params, batch)


def score_batch(
    spec: ModelSpec, model: nn.Module, views_on_host: bool, params: Params, batch: Batch
) -> ClassificationMetrics | ReassessedMetrics:
    """Returns loss, top-1 and top-5 of a host batch; the loss is that of `spec.output`.

    With `views_on_host`, images are already N x N, cut by the eval preset. If the batch has `real`,
    bool [B, K], accuracy on ReaL labels is added; see `real_labels`.
    """
    images, labels = batch["image"], batch["label"]
    if not views_on_host:
        images = eval_view(spec, images)
    logits = view_logits(spec, model, params, images)
    _, best = jax.lax.top_k(logits, min(5, logits.shape[-1]))
    outputs = {
        "loss": cross_entropies(spec.output, logits, class_shares(labels, spec.num_classes)),
        "top1": (logits.argmax(-1) == labels).astype(jnp.float32),
        "top5": (best == labels[:, None]).any(-1).astype(jnp.float32),
        "mask": batch["mask"].astype(bool),
    }
    if "real" not in batch:
        return ClassificationMetrics.single_from_model_output(**outputs)
    real = batch["real"]
    right = jnp.take_along_axis(real, logits.argmax(-1)[:, None], axis=-1)[:, 0]
    return ReassessedMetrics.single_from_model_output(
        **outputs, right=right.astype(jnp.float32), real=real
    )
