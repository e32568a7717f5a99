"""BERT's encoder (Devlin et al., arXiv:1810.04805), with LayerNorm after each residual sum.

Shapes: B batch, S tokens, C channels of a token (`hidden_dim`), H heads, D = C / H.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mlp_core.errors import UserError
from mlp_core.nn.dense import Dense
from mlp_core.nn.mlp import GELU_FORMS
from mlp_core.nn.stack import Remat, block_stack

bert_init = nn.initializers.normal(0.02)

# See `distributed.sharding`. Attention is sharded by heads. The two MLP layers are named like those
# of a gMLP block.
TENSOR_PARALLEL = (
    ".*/(query|key|value)/kernel=-,model",
    ".*/(query|key|value)/bias=model",
    ".*/attention_out/kernel=model,-",
)


class BertEncoder(nn.Module):
    """Normalised sum of word, position and segment embeddings, then attention blocks.

    The pooler of published BERT weights is not part of it; see `heads.ClassificationHead`.
    """

    vocab_size: int
    hidden_dim: int
    num_blocks: int
    num_heads: int
    ffn_dim: int
    max_length: int  # Number of position embeddings.
    num_segments: int = 2
    gelu: str = "erf"
    layer_norm_epsilon: float = 1e-12
    dropout_rate: float = 0.0  # After the embeddings and each branch.
    attention_dropout_rate: float = 0.0  # On the attention weights.
    scan_layers: bool = False  # See `block_stack` for this field and the next.
    remat: Remat = "none"
    dtype: Any = jnp.float32  # For computation; parameters and statistics are float32.

    def setup(self):
        """Creates the word embeddings, which a masked-LM head shares."""
        self.word_embeddings = self._embedding(self.vocab_size)

    @nn.compact
    def __call__(
        self,
        input_ids: jax.Array,
        attention_mask: jax.Array | None = None,
        token_type_ids: jax.Array | None = None,
        *,
        train: bool = False,
        all_states: bool = False,
    ) -> jax.Array | list[jax.Array]:
        """Maps token ids [B, S] to the last hidden state [B, S, C].

        In training, a rate above zero needs the RNG stream `dropout`.

        Args:
          input_ids: [B, S]; ids at or above `vocab_size` give NaN.
          attention_mask: [B, S], 0 at pads, which no token attends to; None: no pads.
          token_type_ids: [B, S], segments; None: the first.
          train: whether dropout is active.
          all_states: whether to return a list of [B, S, C], from the embeddings and each block.

        Raises:
            UserError: there are more tokens than positions, or H does not divide C.
        """
        length = input_ids.shape[1]
        if length > self.max_length:
            raise UserError(
                f"{length} tokens are too many for a BERT with {self.max_length} positions; "
                "truncate them."
            )
        if self.hidden_dim % self.num_heads:
            raise UserError(
                f"num_heads={self.num_heads} does not divide hidden_dim={self.hidden_dim}."
            )
        if token_type_ids is None:
            token_type_ids = jnp.zeros_like(input_ids)
        x = (
            self.word_embeddings(input_ids)
            + self._embedding(self.max_length, "position_embeddings")(jnp.arange(length))[None]
            + self._embedding(self.num_segments, "token_type_embeddings")(token_type_ids)
        )  # [B, S, C]
        x = nn.LayerNorm(self.layer_norm_epsilon, dtype=self.dtype, name="embeddings_norm")(x)
        x = nn.Dropout(self.dropout_rate, deterministic=not train)(x)
        fields = dict(
            num_heads=self.num_heads,
            ffn_dim=self.ffn_dim,
            gelu=self.gelu,
            layer_norm_epsilon=self.layer_norm_epsilon,
            dropout_rate=self.dropout_rate,
            attention_dropout_rate=self.attention_dropout_rate,
            dtype=self.dtype,
        )
        return block_stack(
            BertBlock,
            fields,
            x,
            attention_mask,
            num_blocks=self.num_blocks,
            train=train,
            scan_layers=self.scan_layers,
            remat=self.remat,
            all_states=all_states,
        )

    def _embedding(self, rows: int, name: str | None = None) -> nn.Embed:
        # Always float32: bfloat16 would lose gradients of frequent words in their sum.
        return nn.Embed(rows, self.hidden_dim, embedding_init=bert_init, name=name)


class BertBlock(nn.Module):
    """Attention, then a GELU MLP, each with a residual connection and LayerNorm after it."""

    num_heads: int
    ffn_dim: int
    gelu: str = "erf"
    layer_norm_epsilon: float = 1e-12
    dropout_rate: float = 0.0
    attention_dropout_rate: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: jax.Array, attention_mask: jax.Array | None = None, *, train: bool = False
    ) -> jax.Array:
        """Maps [B, S, C] to [B, S, C]; `attention_mask` [B, S] is 0 at ignored tokens."""
        drop, drop_weights = (
            nn.Dropout(rate, deterministic=not train)
            for rate in (self.dropout_rate, self.attention_dropout_rate)
        )
        channels = x.shape[-1]
        y = self._attention(x, attention_mask, drop_weights)
        y = drop(self._dense(channels, "attention_out")(y))
        x = self._norm("attention_norm")(x + y)
        y = GELU_FORMS[self.gelu](self._dense(self.ffn_dim, "project_in")(x))  # [B, S, ffn_dim]
        y = drop(self._dense(channels, "project_out")(y))  # [B, S, C]
        return self._norm("out_norm")(x + y)

    def _attention(
        self, x: jax.Array, attention_mask: jax.Array | None, drop: nn.Dropout
    ) -> jax.Array:
        """Multi-head attention with concatenated heads: [B, S, C] to [B, S, C]."""
        batch, length, channels = x.shape
        heads = (batch, length, self.num_heads, channels // self.num_heads)
        query, key, value = (
            self._dense(channels, name)(x).reshape(heads) for name in ("query", "key", "value")
        )  # [B, S, H, D] each.
        scores = jnp.einsum(
            "bihd,bjhd->bhij", query, key, preferred_element_type=jnp.float32
        )  # [B, H, S, S]
        scores = scores / heads[-1] ** 0.5
        if attention_mask is not None:
            attended = attention_mask[:, None, None, :] > 0  # [B, 1, 1, S]
            # Minus infinity would give NaN in a row without any token.
            scores = jnp.where(attended, scores, jnp.finfo(scores.dtype).min)
        weights = drop(jax.nn.softmax(scores).astype(self.dtype))
        return jnp.einsum("bhij,bjhd->bihd", weights, value).reshape(x.shape)

    def _dense(self, width: int, name: str) -> Dense:
        return Dense(width, dtype=self.dtype, kernel_init=bert_init, name=name)

    def _norm(self, name: str) -> nn.LayerNorm:
        return nn.LayerNorm(self.layer_norm_epsilon, dtype=self.dtype, name=name)
