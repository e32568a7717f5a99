"""Heads, and encoders with a head on them.

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

head_init = nn.initializers.normal(0.02)  # As BERT has it.
# See `distributed.sharding`; the table of words and the classifier are split by channels, since the
# number of words or classes seldom divides.
TENSOR_PARALLEL = (
    *gmlp_block.TENSOR_PARALLEL,
    *bert.TENSOR_PARALLEL,
    ".*/word_embeddings/embedding=-,model",
    "head/classifier/kernel=model,-",
)


class MaskedLmHead(nn.Module):
    """BERT's: Dense, GELU, LayerNorm, then the table of the words and a bias for each word."""

    gelu: str = "erf"
    layer_norm_epsilon: float = 1e-12
    dtype: Any = jnp.float32  # Of the arithmetic; parameters, statistics and logits are float32.

    @nn.compact
    def __call__(self, states: jax.Array, table: jax.Array) -> jax.Array:
        """Maps states [..., C], with the word embeddings [V, C], to logits [..., V], float32."""
        words, channels = table.shape
        x = Dense(channels, dtype=self.dtype, kernel_init=head_init, name="transform")(states)
        x = GELU_FORMS[self.gelu](x)
        x = nn.LayerNorm(self.layer_norm_epsilon, dtype=self.dtype, name="norm")(x)
        bias = self.param("bias", nn.initializers.zeros, (words,))
        x, table = nn.dtypes.promote_dtype(x, table, dtype=self.dtype)
        logits = jnp.einsum("...c,vc->...v", x, table, preferred_element_type=jnp.float32)
        return logits + jnp.expand_dims(bias, range(logits.ndim - 1))


class ClassificationHead(nn.Module):
    """Pools the states of a text, then dropout and a linear layer, in float32.

    Pooling is "cls", BERT's: the first token, through one more layer with tanh (`pooler`); or
    "mean", over the tokens without the pads.
    """

    num_classes: int
    pooling: str = "cls"
    dropout_rate: float = 0.0

    @nn.compact
    def __call__(
        self, states: jax.Array, attention_mask: jax.Array | None = None, *, train: bool = False
    ) -> jax.Array:
        """Maps states [B, S, C] to logits [B, K], float32.

        `attention_mask` [B, S] is 0 at pads; without it every token counts in the mean. In
        training, a rate above zero needs the random stream `dropout`.
        """
        if self.pooling == "cls":
            x = states[:, 0].astype(jnp.float32)  # [B, C]
            x = jnp.tanh(nn.Dense(x.shape[-1], kernel_init=head_init, name="pooler")(x))
        else:
            x = mean_of_tokens(states, attention_mask)  # [B, C]
        x = nn.Dropout(self.dropout_rate, deterministic=not train)(x)
        return nn.Dense(self.num_classes, kernel_init=head_init, name="classifier")(x)


def mean_of_tokens(states: jax.Array, attention_mask: jax.Array | None) -> jax.Array:
    """Maps [B, S, C] to the mean [B, C], float32, where `attention_mask` [B, S] is not 0."""
    if attention_mask is None:
        return jnp.mean(states, axis=1, dtype=jnp.float32)
    counted = (attention_mask > 0).astype(jnp.float32)
    total = jnp.einsum("bsc,bs->bc", states.astype(jnp.float32), counted)
    return total / jnp.maximum(counted.sum(axis=1, keepdims=True), 1)


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
