"""From uint8 pictures to logits and probabilities: what evaluating, predicting and export share.

Shapes: B batch, H and W pixels, N pixels a side of the model's input, K classes.
"""

import flax.linen as nn
import jax

from mlp_core.train.task import Params
from mlp_vision.augment import augmentation
from mlp_vision.models.model_spec import ModelSpec
from mlp_vision.models.permutations import permute


def eval_view(spec: ModelSpec, images: jax.Array) -> jax.Array:
    """Pictures [B, H, W, 3], 0 to 255, as the eval preset of `spec` cuts them, [B, N, N, 3]."""
    return augmentation.eval_view(images, spec.image_size, spec.eval_preset)


def model_input(spec: ModelSpec, model: nn.Module, views: jax.Array) -> jax.Array:
    """Views [B, N, N, 3], 0 to 255, in the value range, order and type that the model sees."""
    views = permute(views, spec.permutation, spec.moved_patch)
    return augmentation.to_value_range(views, spec.value_range).astype(model.dtype)


def view_logits(spec: ModelSpec, model: nn.Module, params: Params, views: jax.Array) -> jax.Array:
    """Logits [B, K], float32, of views [B, N, N, 3], 0 to 255."""
    return model.apply({"params": params}, model_input(spec, model, views))


def probabilities(spec: ModelSpec, logits: jax.Array) -> jax.Array:
    """Logits [B, K] as probabilities: they add up to one, or each stands for itself (sigmoid)."""
    return {"softmax": jax.nn.softmax, "sigmoid": jax.nn.sigmoid}[spec.output](logits)
