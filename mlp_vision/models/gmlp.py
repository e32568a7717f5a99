"""gMLP for images (Pay Attention to MLPs, arXiv:2105.08050, section 3), with tMLP and aMLP.

Shapes: B batch, H and W pixels, S tokens in row-major order, behind the class token where there is
one, C channels of a token (`hidden_dim`), K classes.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mlp_core.errors import UserError
from mlp_core.nn.gmlp import GmlpBlock
from mlp_core.nn.stack import Remat
from mlp_vision.models.heads import linear_head
from mlp_vision.models.patches import patch_tokens, with_class_token
from mlp_vision.models.token_blocks import through_blocks

# Not zero as in ViT: LayerNorm leaves zeros what they are, and gates only multiply them, so that
# nothing of a picture would reach the token, and no gradient anything but the bias of the head.
class_token_init = nn.initializers.normal(0.02)


class Gmlp(nn.Module):
    """Patches, gMLP blocks, LayerNorm, pooling, linear head.

    Pooling is the mean over the tokens, as in timm, whose weights are the public ones; or
    "class_token": a learned token before the others, whose result goes through one more layer with
    tanh (`pre_logits`) as in ViT. The paper is silent; its parameter counts are those of the
    latter. With `num_classes` 0 there is no head and the pooled features [B, C] come out.
    """

    num_classes: int
    patch_size: int
    hidden_dim: int
    num_blocks: int
    ffn_dim: int
    gating: str = "split"  # One of `spatial_gating.GATINGS`.
    spatial_matrix: str = "full"  # Or "toeplitz": tMLP.
    tiny_attention_dim: int = 0  # Above 0: aMLP.
    pooling: str = "mean"
    gelu: str = "tanh"
    layer_norm_epsilon: float = 1e-6
    gate_layer_norm_epsilon: float = 1e-6
    dropout_rate: float = 0.0
    stochastic_depth: float = 0.0  # Of the last block; grows linearly from 0 in the first.
    stochastic_depth_rescaled: bool = False
    scan_layers: bool = False  # See `block_stack`, for the next field as well.
    remat: Remat = "none"
    dtype: Any = jnp.float32  # Of the arithmetic; parameters, pooling and head are float32.

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        """Maps images [B, H, W, 3], in the value range of the weights, to logits [B, K], float32.

        In training, a rate above zero needs the random stream `dropout`.

        Raises:
            UserError: the patch size does not divide height and width, or `ffn_dim` is odd and
              the gating is to split it.
        """
        if self.gating == "split" and self.ffn_dim % 2:
            raise UserError(f"ffn_dim={self.ffn_dim} cannot be split in halves; make it even.")
        x = patch_tokens(images, self.patch_size, self.hidden_dim, self.dtype)  # [B, S, C]
        if self.pooling == "class_token":
            x = with_class_token(self, x, class_token_init)  # [B, 1 + S, C]
        fields = dict(
            ffn_dim=self.ffn_dim,
            gating=self.gating,
            spatial_matrix=self.spatial_matrix,
            tiny_attention_dim=self.tiny_attention_dim,
            gate_layer_norm_epsilon=self.gate_layer_norm_epsilon,
        )
        x = through_blocks(self, GmlpBlock, fields, x, train)
        if self.pooling == "class_token":
            x = x[:, 0].astype(jnp.float32)  # [B, C]
            x = jnp.tanh(nn.Dense(self.hidden_dim, name="pre_logits")(x))
        else:
            x = jnp.mean(x, axis=1, dtype=jnp.float32)  # [B, C]
        return linear_head(x, self.num_classes)  # [B, K]
