"""Models without a run around them: a forward pass, and a step of SGD on cross entropy."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from mlp_core.timed_turns import seconds_of
from mlp_text.model_spec import TextModelSpec
from mlp_text.models import MODELS as TEXT_MODELS
from mlp_vision.models import create_model

IMAGE_SIZE, NUM_CLASSES, VOCAB_SIZE = 224, 1000, 32_000
FORWARD, TRAINING = "forward", "training"
STEPS = (FORWARD, TRAINING)
RATE, MOMENTUM = 0.01, 0.9


def model_and_example(name: str, dtype: Any) -> tuple[nn.Module, jax.ShapeDtypeStruct]:
    """A model of images or of text, a classifier of its tokens' first, and one example's shape."""
    if name in TEXT_MODELS:
        encoder, sizes = TEXT_MODELS[name]
        sized = encoder(vocab_size=VOCAB_SIZE, **sizes)
        spec = TextModelSpec(encoder=sized, head="classification", num_classes=2)
        return spec.create_model(dtype), jax.ShapeDtypeStruct((spec.max_length,), jnp.int32)
    picture = jax.ShapeDtypeStruct((IMAGE_SIZE, IMAGE_SIZE, 3), jnp.float32)
    return create_model(name, NUM_CLASSES, dtype=dtype), picture


def abstract_batch(example: jax.ShapeDtypeStruct, batch_size: int) -> dict[str, Any]:
    """Shapes of the inputs and labels of a batch."""
    inputs = jax.ShapeDtypeStruct((batch_size, *example.shape), example.dtype)
    return {"inputs": inputs, "labels": jax.ShapeDtypeStruct((batch_size,), jnp.int32)}


def abstract_state(module: nn.Module, step: str, inputs: jax.ShapeDtypeStruct) -> Any:
    """Shapes of what `program` works on: parameters, for training with the optimizer's state."""
    params = jax.eval_shape(module.init, jax.random.key(0), inputs)["params"]
    return params if step == FORWARD else (params, jax.eval_shape(_optimizer().init, params))


def program(module: nn.Module, step: str, options: Mapping[str, str]) -> Callable:
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
        updates, opt_state = _optimizer().update(gradient, opt_state, params)
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


def _optimizer() -> optax.GradientTransformation:
    return optax.sgd(RATE, momentum=MOMENTUM)
