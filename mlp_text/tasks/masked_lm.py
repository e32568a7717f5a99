"""Masked language modelling: perplexity and the task for the training engine.

Shapes: B batch, S tokens, P prediction slots, V vocabulary.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import ClassVar

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from clu import metrics

from mlp_core.data.sources import Source
from mlp_core.errors import UserError
from mlp_core.train.task import Batch, Params
from mlp_text.models.text_models import TENSOR_PARALLEL
from mlp_text.tasks.masking import Masking

ROWS = 1024  # Per batch.


def unigram_perplexity(
    counts: np.ndarray, eval_source: Source, masking: Masking, seed: int
) -> float:
    """Returns exp(mean cross-entropy) over the target tokens of masked evaluation.

    Args:
      counts: int [V], occurrences of each id in the training text; one is added to each.
      eval_source: batches hold `input_ids` [B, S], `index` [B], and optionally `mask` [B], 0 for
        ignored rows.
      masking: the masking; special tokens are excluded, as they are never targets.
      seed: seed of the evaluation masks.
    """
    ordinary = masking.ordinary
    smoothed = np.asarray(counts, np.float64)[ordinary] + 1
    asked = _asked_for(eval_source, masking, seed)[ordinary]
    return float(np.exp(-(asked @ np.log(smoothed / smoothed.sum())) / asked.sum()))


def _asked_for(source: Source, masking: Masking, seed: int) -> np.ndarray:
    """Returns how often each id is an evaluation target: float64 [V]."""
    mask = jax.jit(functools.partial(masking.mask_tokens_by_index, seed))
    asked = np.zeros(masking.vocab_size)
    for first in range(0, len(source), ROWS):
        batch = source.gather(np.arange(first, min(first + ROWS, len(source))))
        masked = jax.device_get(mask(batch["index"], batch["input_ids"]))
        rows = batch.get("mask", np.ones(len(batch["index"]), np.float32))
        weights = masked["weights"] * rows[:, None]
        asked += np.bincount(
            masked["targets"].ravel(), weights.ravel(), minlength=masking.vocab_size
        )
    return asked


@flax.struct.dataclass
class Perplexity(metrics.Average):
    """Exponential of the mean over all batches, not the mean of batch perplexities."""

    def compute(self) -> jax.Array:
        """Returns the exponential of the mean."""
        return jnp.exp(super().compute())


@flax.struct.dataclass
class MaskedLmMetrics(metrics.Collection):
    """Mean cross-entropy in nats, perplexity and accuracy over the masked tokens."""

    loss: metrics.Average.from_output("loss")
    perplexity: Perplexity.from_output("loss")
    masked_accuracy: metrics.Average.from_output("masked_accuracy")


@dataclasses.dataclass(frozen=True)
class MaskedLanguageModelling:
    """Masked-LM task: cross-entropy and accuracy on masked tokens.

    Batches of the sources hold `input_ids` int32 [B, S]; evaluation batches also `index` int32
    [B], which determines the masks of a row.

    `model` maps (input_ids, attention_mask, token_type_ids, positions=..., train=...), each [B, S]
    except the positions to predict, [B, P], to float32 logits [B, P, V]. Training draws new masks
    each step; evaluation always uses those of `eval_seed`.

    Raises:
        UserError: there are more prediction slots than tokens in a row.
    """

    tensor_parallel: ClassVar = TENSOR_PARALLEL

    model: nn.Module
    masking: Masking
    pad_id: int
    max_length: int  # S
    train_source: Source
    eval_sources: Mapping[str, Source]
    eval_seed: int = 0
    start: Callable[[], Params | None] = lambda: None  # Parameters to start from.

    def __post_init__(self):
        """Checks that the prediction slots fit a row."""
        if self.masking.num_slots > self.max_length:
            raise UserError(
                f"Masking: num_slots is {self.masking.num_slots}, but a row has only "
                f"{self.max_length} tokens; {self.max_length} is the most."
            )

    def init_params(self, rng: jax.Array) -> Params:
        """Random initial parameters."""
        ids = jnp.zeros((1, self.max_length), jnp.int32)
        positions = jnp.zeros((1, self.masking.num_slots), jnp.int32)
        return self.model.init(rng, ids, jnp.ones_like(ids), None, positions=positions)["params"]

    def published_params(self) -> Params | None:
        """Initial parameters from weights, or None."""
        return self.start()

    def augment(self, batch: Batch, rng: jax.Array) -> Batch:
        """Masks tokens; the weights sum to B over the whole batch.

        The mean over the batch's masked tokens is thus also the mean over micro-batches of equal
        size, regardless of their number of masked tokens.
        """
        masked = self.masking.mask_tokens(rng, batch["input_ids"])
        weights = masked["weights"]
        share = len(weights) / jnp.maximum(weights.sum(), 1)
        return masked | {
            "attention_mask": self._attention_mask(batch),
            "weights": share * weights,
        }

    def loss(self, params: Params, batch: Batch, rng: jax.Array) -> tuple[jax.Array, dict]:
        """Mean cross-entropy in nats and accuracy over the masked tokens."""
        losses, right = self._scores(params, batch, train=True, rngs={"dropout": rng})
        weights = batch["weights"]
        accuracy = (weights * right).sum(-1).mean()
        return (weights * losses).sum(-1).mean(), {"masked_accuracy": accuracy}

    def evaluate(self, params: Params, batch: Batch) -> MaskedLmMetrics:
        """Loss, perplexity and accuracy over the masked tokens of a host batch."""
        masked = self.masking.mask_tokens_by_index(
            self.eval_seed, batch["index"], batch["input_ids"]
        )
        masked |= {"attention_mask": self._attention_mask(batch)}
        losses, right = self._scores(params, masked, train=False)
        counts = masked["weights"] * batch["mask"][:, None]
        return MaskedLmMetrics.single_from_model_output(
            loss=losses, masked_accuracy=right.astype(jnp.float32), mask=counts.astype(bool)
        )

    def _attention_mask(self, batch: Batch) -> jax.Array:
        """Returns the attention mask, zero at pads: uint8 [B, S]."""
        return (batch["input_ids"] != self.pad_id).astype(jnp.uint8)

    def _scores(self, params: Params, masked: Batch, **options) -> tuple[jax.Array, jax.Array]:
        """Returns cross-entropy and whether the top prediction is correct: both [B, P]."""
        logits = self.model.apply(
            {"params": params},
            masked["input_ids"],
            masked["attention_mask"],
            None,
            positions=masked["positions"],
            **options,
        )
        targets = masked["targets"]
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
        return losses, logits.argmax(-1) == targets
