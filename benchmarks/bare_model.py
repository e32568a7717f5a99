"""Models without a run around them: a forward pass, and a training step on cross entropy.

The papers' models train by SGD with momentum. Those that people train without an accelerator, by
AdamW, are Mixers and a gMLP for 32 x 32 images in patches of 4 (configs/small_images.py has the
second Mixer and the gMLP) and text models of two blocks (configs/small_text.py).
"""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from mlp_text.models.model_spec import TextModelSpec
from mlp_text.models.registry import MODELS as TEXT_MODELS
from mlp_vision.models.registry import create_model
from mlp_vision.tools.throughput import seconds_of

IMAGE_SIZE, NUM_CLASSES, VOCAB_SIZE = 224, 1000, 32_000
SMALL_IMAGE_SIZE, SMALL_NUM_CLASSES = 32, 10
SMALL_IMAGE_MODELS = {  # Architecture and sizes.
    "mixer_small": (
        "mixer",
        dict(patch_size=4, hidden_dim=128, num_blocks=8, tokens_mlp_dim=64, channels_mlp_dim=512),
    ),
    "mixer_coursework": (
        "mixer",
        dict(patch_size=4, hidden_dim=256, num_blocks=8, tokens_mlp_dim=256, channels_mlp_dim=1024),
    ),
    "gmlp_cifar": ("gmlp", dict(patch_size=4, hidden_dim=256, num_blocks=8, ffn_dim=1024)),
}
_SMALL_TEXT = dict(vocab_size=8192, hidden_dim=128, num_blocks=2, ffn_dim=512, max_length=48)
SMALL_TEXT_MODELS = {
    f"{family}_text_small": (TEXT_MODELS[family][0], TEXT_MODELS[family][1] | _SMALL_TEXT)
    for family in ("gmlp", "amlp")
}
SMALL_MODELS = (*SMALL_IMAGE_MODELS, *SMALL_TEXT_MODELS)
FORWARD, TRAINING = "forward", "training"
STEPS = (FORWARD, TRAINING)
RATE, MOMENTUM = 0.01, 0.9
ADAMW_RATE, WEIGHT_DECAY = 1e-3, 0.1
SGD, ADAMW = optax.sgd(RATE, momentum=MOMENTUM), optax.adamw(ADAMW_RATE, weight_decay=WEIGHT_DECAY)


def model_and_example(name: str, dtype: Any) -> tuple[nn.Module, jax.ShapeDtypeStruct]:
    """A model of images or of text, a classifier of its tokens' first, and one example's shape."""
    if name in SMALL_IMAGE_MODELS:
        architecture, sizes = SMALL_IMAGE_MODELS[name]
        picture = jax.ShapeDtypeStruct((SMALL_IMAGE_SIZE, SMALL_IMAGE_SIZE, 3), jnp.float32)
        return create_model(architecture, SMALL_NUM_CLASSES, dtype=dtype, **sizes), picture
    text_models = TEXT_MODELS | SMALL_TEXT_MODELS
    if name in text_models:
        encoder, sizes = text_models[name]
        sized = encoder(**{"vocab_size": VOCAB_SIZE, **sizes})
        spec = TextModelSpec(encoder=sized, head="classification", num_classes=2)
        return spec.create_model(dtype), jax.ShapeDtypeStruct((spec.max_length,), jnp.int32)
    picture = jax.ShapeDtypeStruct((IMAGE_SIZE, IMAGE_SIZE, 3), jnp.float32)
    return create_model(name, NUM_CLASSES, dtype=dtype), picture


def abstract_batch(example: jax.ShapeDtypeStruct, batch_size: int) -> dict[str, Any]:
    """Shapes of the inputs and labels of a batch."""
    inputs = jax.ShapeDtypeStruct((batch_size, *example.shape), example.dtype)
    return {"inputs": inputs, "labels": jax.ShapeDtypeStruct((batch_size,), jnp.int32)}


def abstract_state(
    module: nn.Module,
    step: str,
    inputs: jax.ShapeDtypeStruct,
    optimizer: optax.GradientTransformation = SGD,
) -> Any:
    """Shapes of what `program` works on: parameters, for training with the optimizer's state."""
    params = jax.eval_shape(module.init, jax.random.key(0), inputs)["params"]
    return params if step == FORWARD else (params, jax.eval_shape(optimizer.init, params))


def program(
    module: nn.Module,
    step: str,
    options: Mapping[str, str],
    optimizer: optax.GradientTransformation = SGD,
) -> Callable:
    """The step, jitted with options of the compiler.

    Forward: (params, batch) to logits; training: (state, batch) to state.
    """

    def forward(params, batch):
        return module.apply({"params": params}, batch["inputs"])

    def loss_of(params, batch):
        logits = module.apply({"params": params}, batch["inputs"], train=True)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["labels"])
        return losses.mean()

    def training(state, batch):
        params, opt_state = state
        gradient = jax.grad(loss_of)(params, batch)
        updates, opt_state = optimizer.update(gradient, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    if step == FORWARD:
        return jax.jit(forward, compiler_options=options)
    return jax.jit(training, donate_argnums=0, compiler_options=options)


def made(shapes: Any) -> Any:
    """Values for shapes: small random numbers, and zeros where they are indices."""

    def value(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        if jnp.issubdtype(leaf.dtype, jnp.integer):
            return jnp.zeros(leaf.shape, leaf.dtype)
        return 0.02 * jax.random.normal(jax.random.key(0), leaf.shape, leaf.dtype)

    return jax.tree.map(value, shapes)


def timed_turn(call: Callable[[], Any], seconds: float) -> float:
    """Seconds of one call over about `seconds`; calls are queued and the last is waited for."""
    calls = max(int(seconds / seconds_of(call, 1)), 1)
    return seconds_of(call, calls) / calls
