"""A small vocabulary, rows of made text, and a masked language model of a few lines."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from mlp_core.data.sources import ArraySource
from mlp_text.tasks.masking import Masking

PAD, UNKNOWN, CLS, SEP, MASK = SPECIAL = range(5)
VOCAB_SIZE = 40
CONTINUATION = np.arange(VOCAB_SIZE) >= 25
LENGTH = 32


def made_masking(**changes) -> Masking:
    settings = {"continuation": CONTINUATION, "num_slots": 6} | changes
    return Masking(VOCAB_SIZE, MASK, SPECIAL, **settings)


def made_row(tokens, length=LENGTH) -> np.ndarray:
    """Ids between [CLS] and [SEP], then pads."""
    row = np.full(length, PAD, np.int32)
    row[: len(tokens) + 2] = [CLS, *tokens, SEP]
    return row


def made_rows(count: int, shortest=0, longest=LENGTH - 2, length=LENGTH, seed=0) -> np.ndarray:
    """Rows of random ordinary tokens, as many as drawn between `shortest` and `longest`."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(shortest, longest + 1, count)
    return np.stack([made_row(rng.integers(5, VOCAB_SIZE, size), length) for size in sizes])


def made_source(rows: np.ndarray, **more: np.ndarray) -> ArraySource:
    return ArraySource({"input_ids": rows, "index": np.arange(len(rows), dtype=np.int32)} | more)


class TinyMaskedLm(nn.Module):
    """Predicts a token from its own state and from the mean over all that are attended to."""

    @nn.compact
    def __call__(self, input_ids, attention_mask, token_type_ids, *, positions, train=False):
        states = nn.Embed(VOCAB_SIZE, 8)(input_ids)  # [B, S, 8]
        attended = attention_mask[..., None].astype(states.dtype)
        mean = (states * attended).sum(1, keepdims=True) / attended.sum(1, keepdims=True)
        states = jnp.concatenate([states, jnp.broadcast_to(mean, states.shape)], axis=-1)
        asked = jnp.take_along_axis(states, positions[..., None], axis=1)  # [B, P, 16]
        return nn.Dense(VOCAB_SIZE, name="output")(nn.gelu(nn.Dense(16)(asked)))
