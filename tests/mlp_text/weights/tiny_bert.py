"""A BERT small enough to compute with in no time, with three texts for it."""

import jax
import numpy as np

from mlp_text.models.bert import BertEncoder

TINY = dict(vocab_size=50, hidden_dim=32, num_blocks=2, num_heads=4, ffn_dim=48, max_length=16)
ENCODER = BertEncoder(**TINY)
IDS = np.random.default_rng(0).integers(1, 50, (3, 12))
MASK = (np.arange(12) < np.array([12, 7, 1])[:, None]).astype(np.uint8)


def params_of(model):
    """Variables of a model, random and large enough for everything to count."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(model.init, jax.random.key(0), IDS)
    return jax.tree.map(lambda leaf: rng.normal(0, 0.3, leaf.shape).astype(np.float32), shapes)
