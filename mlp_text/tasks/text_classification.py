"""Text classification task for the training engine.

Shapes: B batch, S tokens, K classes.
"""

import dataclasses
from collections.abc import Callable
from typing import ClassVar

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax
from clu import metrics

from mlp_core.data.sources import Source
from mlp_core.train.task import Batch, Params
from mlp_text.models.text_models import TENSOR_PARALLEL

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
MEASURES = ("accuracy",)


@flax.struct.dataclass
class TextClassificationMetrics(metrics.Collection):
    """Mean loss and accuracy, with rows weighted by `mask`."""

    loss: metrics.Average.from_output("loss")
    accuracy: metrics.Average.from_output("accuracy")


@dataclasses.dataclass(frozen=True)
class TextClassification:
    """Classification of sentences or sentence pairs: cross-entropy and accuracy."""

    tensor_parallel: ClassVar = TENSOR_PARALLEL

    model: nn.Module  # From `INPUTS` to logits [B, K].
    max_length: int
    train_source: Source
    eval_sources: dict[str, Source]
    start: Callable[[], Params | None] = lambda: None  # Parameters to start from.

    def init_params(self, rng: jax.Array) -> Params:
        """Random initial parameters."""
        return self.model.init(rng, jnp.zeros((1, self.max_length), jnp.int32))["params"]

    def published_params(self) -> Params | None:
        """Initial parameters from weights, or None."""
        return self.start()

    def augment(self, batch: Batch, rng: jax.Array) -> Batch:
        """Returns the batch unchanged: texts are not augmented."""
        return batch

    def loss(self, params: Params, batch: Batch, rng: jax.Array) -> tuple[jax.Array, dict]:
        """Mean cross-entropy and accuracy."""
        inputs = (batch[name] for name in INPUTS)
        logits = self.model.apply({"params": params}, *inputs, train=True, rngs={"dropout": rng})
        losses, right = _scores(logits, batch["label"])
        return losses.mean(), {"accuracy": right.mean()}

    def evaluate(self, params: Params, batch: Batch) -> TextClassificationMetrics:
        """Loss and accuracy of a host batch."""
        return score_batch(self.model, params, batch)


def score_batch(model: nn.Module, params: Params, batch: Batch) -> TextClassificationMetrics:
    """Loss and accuracy of a host batch."""
    logits = model.apply({"params": params}, *(batch[name] for name in INPUTS))
    losses, right = _scores(logits, batch["label"])
    return TextClassificationMetrics.single_from_model_output(
        loss=losses, accuracy=right, mask=batch["mask"].astype(bool)
    )


def _scores(logits: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return losses, (logits.argmax(-1) == labels).astype(jnp.float32)
