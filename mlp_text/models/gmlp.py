"""gMLP for text (Pay Attention to MLPs, arXiv:2105.08050, section 4), with tMLP and aMLP.

There are no position embeddings: the spatial projections encode token positions.

Shapes: B batch, S tokens, C channels of a token (`hidden_dim`), V vocabulary.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mlp_core.nn.dense import Dense
from mlp_core.nn.gmlp import GmlpBlock
from mlp_core.nn.stack import Remat, block_stack
from mlp_text.models.bert import BertEncoder

embedding_init = nn.initializers.normal(0.02)  # As in BERT; the paper gives none.

# Features from BERT's hidden states, embeddings first (arXiv:1810.04805, table 7).
BERT_FEATURES = {
    "last": lambda states: states[-1],
    "second_last": lambda states: states[-2],
    "sum4": lambda states: sum(states[-4:]),
    "concat4": lambda states: jnp.concatenate(states[-4:], axis=-1),
}


class GmlpEncoder(nn.Module):
    """Word embeddings or features of a BERT, gMLP blocks, LayerNorm.

    With `bert`, its features are projected to C channels and replace the embeddings.
    """

    vocab_size: int
    hidden_dim: int
    num_blocks: int
    ffn_dim: int
    max_length: int  # S of the spatial projections.
    gating: str = "split"  # One of `spatial_gating.GATINGS`.
    spatial_matrix: str = "full"  # Or "toeplitz": tMLP.
    tiny_attention_dim: int = 0  # Above 0: aMLP.
    segments: bool = False  # Whether to add segment embeddings.
    mask_pads: bool = False  # The paper's models learn to ignore pads.
    gelu: str = "tanh"
    layer_norm_epsilon: float = 1e-6
    gate_layer_norm_epsilon: float = 1e-6
    dropout_rate: float = 0.0
    attention_dropout_rate: float = 0.0
    stochastic_depth: float = 0.0  # Rate of the last block, linear from 0 in the first.
    bert: BertEncoder | None = None
    bert_features: str = "last"  # One of BERT_FEATURES.
    scan_layers: bool = False  # See `block_stack` for this field and the next.
    remat: Remat = "none"
    dtype: Any = jnp.float32  # For computation; parameters are float32.

    def setup(self):
        """Creates the embedding, which a masked-LM head shares."""
        if self.bert is None:
            self.word_embeddings = self._embedding(self.vocab_size)

    @nn.compact
    def __call__(
        self,
        input_ids: jax.Array,
        attention_mask: jax.Array | None = None,
        token_type_ids: jax.Array | None = None,
        *,
        train: bool = False,
    ) -> jax.Array:
        """Maps token ids [B, S] to states [B, S, C].

        Sequences may be shorter than `max_length`; with Toeplitz matrices also longer. In
        training, a rate above zero needs the RNG stream `dropout`.

        Args:
          input_ids: int [B, S].
          attention_mask: [B, S], zero for pads; None: no pads. Used by `mask_pads` and a BERT.
          token_type_ids: int [B, S], 0 or 1: index of the sentence in a pair; None: 0.

        Raises:
            UserError: the sequence is too long.
        """
        if self.bert is None:
            x = self.word_embeddings(input_ids)  # [B, S, C]
        else:
            states = self.bert(
                input_ids, attention_mask, token_type_ids, train=train, all_states=True
            )
            x = BERT_FEATURES[self.bert_features](states)  # [B, S, BERT channels or 4 x]
            x = Dense(self.hidden_dim, dtype=self.dtype, name="project_features")(x)
        if self.segments:
            segments = jnp.zeros_like(input_ids) if token_type_ids is None else token_type_ids
            x += self._embedding(2, "token_type_embeddings")(segments)
        x = x.astype(self.dtype)
        x = nn.Dropout(self.dropout_rate, deterministic=not train)(x)
        fields = dict(
            ffn_dim=self.ffn_dim,
            gating=self.gating,
            spatial_matrix=self.spatial_matrix,
            tiny_attention_dim=self.tiny_attention_dim,
            gelu=self.gelu,
            layer_norm_epsilon=self.layer_norm_epsilon,
            gate_layer_norm_epsilon=self.gate_layer_norm_epsilon,
            dropout_rate=self.dropout_rate,
            attention_dropout_rate=self.attention_dropout_rate,
            drop_path_rescaled=True,
            num_tokens=self.max_length,
            dtype=self.dtype,
        )
        x = block_stack(
            GmlpBlock,
            fields,
            x,
            attention_mask if self.mask_pads else None,
            num_blocks=self.num_blocks,
            train=train,
            stochastic_depth=self.stochastic_depth,
            scan_layers=self.scan_layers,
            remat=self.remat,
        )
        return nn.LayerNorm(epsilon=self.layer_norm_epsilon, dtype=self.dtype, name="final_norm")(x)

    def _embedding(self, rows: int, name: str | None = None) -> nn.Embed:
        # Always float32: bfloat16 would lose gradients of frequent words in their sum.
        return nn.Embed(rows, self.hidden_dim, embedding_init=embedding_init, name=name)
