"""The perplexity of the unigram model, which knows how frequent tokens are and nothing else.

A masked language model that has learned from context does better.
"""

import functools

import jax
import numpy as np

from mlp_core.data.source import Source
from mlp_text.tasks.masking import Masking

ROWS = 1024  # At a time.


def unigram_perplexity(
    counts: np.ndarray, eval_source: Source, masking: Masking, seed: int
) -> float:
    """exp(mean cross-entropy) over the tokens that masked evaluation with `seed` asks for.

    Args:
      counts: int [V], how often each id stands in the training text; one is added to each.
      eval_source: batches hold `input_ids` [B, S], `index` [B], and `mask` [B] where some of the
        rows may not count.
      masking: special tokens are left out of the model, as they are never asked for.
      seed: of the evaluation's masks.
    """
    ordinary = masking.ordinary
    smoothed = np.asarray(counts, np.float64)[ordinary] + 1
    asked = _asked_for(eval_source, masking, seed)[ordinary]
    return float(np.exp(-(asked @ np.log(smoothed / smoothed.sum())) / asked.sum()))


def _asked_for(source: Source, masking: Masking, seed: int) -> np.ndarray:
    """How often each id is a target of the evaluation: float64 [V]."""
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
