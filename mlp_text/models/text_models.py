"""Heads, and encoders with a head.

Encoders map `input_ids`, `attention_mask` (None without pads) and `token_type_ids` (None without
segments), [B, S] each, to states [B, S, C]. Parameters are {"encoder": ..., "head": ...}.

Shapes: B batch, S tokens, C channels, P prediction slots, V vocabulary, K classes.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mlp_core.nn import gmlp as gmlp_block
from mlp_core.nn.dense import Dense
from mlp_core.nn.mlp import GELU_FORMS
from mlp_text.models import bert

head_init = nn.initializers.normal(0.02)  # As in BERT.
# See `distributed.sharding`. Word embeddings and classifier are sharded by channels, since the
# number of words or classes is seldom divisible.
TENSOR_PARALLEL = (
    *gmlp_block.TENSOR_PARALLEL,
    *bert.TENSOR_PARALLEL,
    ".*/word_embeddings/embedding=-,model",
    "head/classifier/kernel=model,-",
)


class MaskedLmHead(nn.Module):
    """BERT's masked-LM head: Dense, GELU, LayerNorm, tied word embeddings, bias per word."""

    gelu: str = "erf"
    layer_norm_epsilon: float = 1e-12
    dtype: Any = jnp.float32  # For computation; parameters, statistics and logits are float32.

    @nn.compact
    def __call__(self, states: jax.Array, table: jax.Array) -> jax.Array:
        """Maps states [..., C] and word embeddings [V, C] to float32 logits [..., V]."""
        words, channels = table.shape
        x = Dense(channels, dtype=self.dtype, kernel_init=head_init, name="transform")(states)
        x = GELU_FORMS[self.gelu](x)
        x = nn.LayerNorm(self.layer_norm_epsilon, dtype=self.dtype, name="norm")(x)
        bias = self.param("bias", nn.initializers.zeros, (words,))
        x, table = nn.dtypes.promote_dtype(x, table, dtype=self.dtype)
        logits = jnp.einsum("...c,vc->...v", x, table, preferred_element_type=jnp.float32)
        return logits + jnp.expand_dims(bias, range(logits.ndim - 1))


class ClassificationHead(nn.Module):
    """Pooling over the tokens of a text, dropout and a linear layer, in float32.

    Pooling is "cls", as in BERT: the first token through a tanh layer (`pooler`); or "mean": over
    all tokens but pads.
    """

    num_classes: int
    pooling: str = "cls"
    dropout_rate: float = 0.0

    @nn.compact
    def __call__(
        self, states: jax.Array, attention_mask: jax.Array | None = None, *, train: bool = False
    ) -> jax.Array:
        """Maps states [B, S, C] to float32 logits [B, K].

        `attention_mask` [B, S] is 0 at pads; without it the mean is over all tokens. In training, a
        rate above zero needs the RNG stream `dropout`.
        """
        if self.pooling == "cls":
            x = states[:, 0].astype(jnp.float32)  # [B, C]
            x = jnp.tanh(nn.Dense(x.shape[-1], kernel_init=head_init, name="pooler")(x))
        else:
            x = mean_of_tokens(states, attention_mask)  # [B, C]
        x = nn.Dropout(self.dropout_rate, deterministic=not train)(x)
        return nn.Dense(self.num_classes, kernel_init=head_init, name="classifier")(x)


def mean_of_tokens(states: jax.Array, attention_mask: jax.Array | None) -> jax.Array:
    """Maps [B, S, C] to the float32 mean [B, C] where `attention_mask` [B, S] is not 0."""
    if attention_mask is None:
        return jnp.mean(states, axis=1, dtype=jnp.float32)
    counted = (attention_mask > 0).astype(jnp.float32)
    total = jnp.einsum("bsc,bs->bc", states.astype(jnp.float32), counted)
    return total / jnp.maximum(counted.sum(axis=1, keepdims=True), 1)


class MaskedLm(nn.Module):
    """Masked language model with tied `word_embeddings`."""

    encoder: nn.Module
    gelu: str = "erf"  # This field and the next belong to the head.
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
        """Returns float32 logits [B, P, V] at `positions` [B, P]; without them [B, S, V]."""
        states = self.encoder(input_ids, attention_mask, token_type_ids, train=train)  # [B, S, C]
        if positions is not None:  # Before the head, since logits are by far the largest array.
            states = jnp.take_along_axis(states, positions[:, :, None], axis=1)  # [B, P, C]
        head = MaskedLmHead(self.gelu, self.layer_norm_epsilon, self.dtype, name="head")
        return head(states, self.encoder.word_embeddings.embedding)


class TextClassifier(nn.Module):
    """Text classifier."""

    encoder: nn.Module
    num_classes: int
    pooling: str = "cls"  # Or "mean"; see `ClassificationHead`.
    dropout_rate: float = 0.0  # In the head.

    @nn.compact
    def __call__(
        self,
        input_ids: jax.Array,
        attention_mask: jax.Array | None = None,
        token_type_ids: jax.Array | None = None,
        *,
        train: bool = False,
    ) -> jax.Array:
        """Returns float32 logits [B, K]."""
        states = self.encoder(input_ids, attention_mask, token_type_ids, train=train)  # [B, S, C]
        head = ClassificationHead(self.num_classes, self.pooling, self.dropout_rate, name="head")
        return head(states, attention_mask, train=train)
