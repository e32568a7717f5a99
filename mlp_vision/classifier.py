"""From uint8 pictures to logits and probabilities: what evaluating, predicting and export share.

Shapes: B batch, H and W pixels, N pixels a side of the model's input, K classes.
"""

import flax.linen as nn
import jax

from mlp_core.task import Params
from mlp_vision import augmentation
from mlp_vision.model_spec import ModelSpec


def eval_logits(spec: ModelSpec, model: nn.Module, params: Params, images: jax.Array) -> jax.Array:
    """Logits [B, K], float32, of pictures [B, H, W, 3] under the eval preset of `spec`."""
    preset = augmentation.EVAL_PRESETS[spec.eval_preset]
    return model.apply(
        {"params": params}, model_input(spec, model, preset(images, spec.image_size))
    )


def model_input(spec: ModelSpec, model: nn.Module, images: jax.Array) -> jax.Array:
    """Pictures [B, N, N, 3], 0 to 255, in the value range and type that the model sees."""
    return augmentation.to_value_range(images, spec.value_range).astype(model.dtype)


def probabilities(spec: ModelSpec, logits: jax.Array) -> jax.Array:
    """Logits [B, K] as probabilities: they add up to one, or each stands for itself (sigmoid)."""
    return {"softmax": jax.nn.softmax, "sigmoid": jax.nn.sigmoid}[spec.output](logits)
