"""An encoder with a head on it.

Encoders map `input_ids`, `attention_mask` (None without pads) and `token_type_ids` (None without
segments), [B, S] each, to states [B, S, C]. Parameters are {"encoder": ..., "head": ...}.

Shapes: B batch, S tokens, C channels, P prediction slots, V vocabulary, K classes.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mlp_core.nn import gmlp as gmlp_block
from mlp_text.models import bert
from mlp_text.models.heads import ClassificationHead, MaskedLmHead

# See `distributed.sharding`; the table of words and the classifier are split by channels, since the
# number of words or classes seldom divides.
TENSOR_PARALLEL = (
    *gmlp_block.TENSOR_PARALLEL,
    *bert.TENSOR_PARALLEL,
    ".*/word_embeddings/embedding=-,model",
    "head/classifier/kernel=model,-",
)


class MaskedLm(nn.Module):
    """Predicts words, with the table of an encoder's `word_embeddings`."""

    encoder: nn.Module
    gelu: str = "erf"  # This field and the next are of the head.
    layer_norm_epsilon: float = 1e-12
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        input_ids: jax.Array,
        attention_mask: jax.Array | None = None,
        token_type_ids: jax.Array | None = None,
        positions: jax.Array | None = None,
        *,
        train: bool = False,
    ) -> jax.Array:
        """Gives logits [B, P, V], float32, at `positions` [B, P]; without them [B, S, V]."""
        states = self.encoder(input_ids, attention_mask, token_type_ids, train=train)  # [B, S, C]
        if positions is not None:  # Before the head: the logits are the largest array by far.
            states = jnp.take_along_axis(states, positions[:, :, None], axis=1)  # [B, P, C]
        head = MaskedLmHead(self.gelu, self.layer_norm_epsilon, self.dtype, name="head")
        return head(states, self.encoder.word_embeddings.embedding)


class TextClassifier(nn.Module):
    """Tells the class of a text."""

    encoder: nn.Module
    num_classes: int
    pooling: str = "cls"  # Or "mean"; see `ClassificationHead`.
    dropout_rate: float = 0.0  # Of the head.

    @nn.compact
    def __call__(
        self,
        input_ids: jax.Array,
        attention_mask: jax.Array | None = None,
        token_type_ids: jax.Array | None = None,
        *,
        train: bool = False,
    ) -> jax.Array:
        """Gives logits [B, K], float32."""
        states = self.encoder(input_ids, attention_mask, token_type_ids, train=train)  # [B, S, C]
        head = ClassificationHead(self.num_classes, self.pooling, self.dropout_rate, name="head")
        return head(states, attention_mask, train=train)
