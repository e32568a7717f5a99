"""MLP-Mixer (arXiv:2105.01601, section 2): token mixing and channel mixing, nothing else.

Shapes: B batch, H and W pixels, P patch size, S = (H / P) * (W / P) tokens in row-major order,
C channels of a token (`hidden_dim`), K classes. The parameter tree is that of the weights that
Google published; so are the defaults of GELU form and LayerNorm epsilon.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mlp_core.nn.mlp import MlpBlock, StochasticDepth
from mlp_core.nn.platform_forms import materialized
from mlp_core.nn.stack import Remat
from mlp_vision.models.heads import linear_head
from mlp_vision.models.patches import patch_tokens
from mlp_vision.models.token_blocks import through_blocks

# See `mlp_core.distributed.sharding`; each MLP is split by its hidden units.
TENSOR_PARALLEL = (
    ".*_mixing/Dense_0/kernel=-,model",
    ".*_mixing/Dense_0/bias=model",
    ".*_mixing/Dense_1/kernel=model,-",
)


class MixerBlock(nn.Module):
    """Token-mixing MLP, then channel-mixing MLP, each with LayerNorm before and a skip around."""

    tokens_mlp_dim: int
    channels_mlp_dim: int
    gelu: str = "tanh"
    layer_norm_epsilon: float = 1e-6
    dropout_rate: float = 0.0
    drop_path_rescaled: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        *,
        drop_path_rate: jax.Array | float | None = None,
        train: bool = False,
    ) -> jax.Array:
        """Maps [B, S, C] to [B, S, C].

        With `drop_path_rate`, a scalar, training leaves an MLP out for that share of the examples.
        """

        def norm(name):
            return nn.LayerNorm(epsilon=self.layer_norm_epsilon, dtype=self.dtype, name=name)

        def mlp(hidden_dim, name, **speed):
            return MlpBlock(
                hidden_dim, self.gelu, self.dropout_rate, self.dtype, name=name, **speed
            )

        def branch(y):
            return StochasticDepth(self.drop_path_rescaled)(y, drop_path_rate, train=train)

        y = norm("LayerNorm_0")(x)
        y = y.swapaxes(1, 2)  # [B, C, S]
        y = mlp(self.tokens_mlp_dim, "token_mixing")(y, train=train)
        y = y.swapaxes(1, 2)  # [B, S, C]
        x = materialized(x + branch(y))
        y = norm("LayerNorm_1")(x)
        y = mlp(self.channels_mlp_dim, "channel_mixing", hidden_in_memory=True)(y, train=train)
        return x + branch(y)


class Mixer(nn.Module):
    """Patches, Mixer blocks, LayerNorm, mean over tokens, linear head.

    With `num_classes` 0 there is no head and the pooled features [B, C] come out.
    """

    num_classes: int
    patch_size: int
    hidden_dim: int
    num_blocks: int
    tokens_mlp_dim: int
    channels_mlp_dim: int
    gelu: str = "tanh"
    layer_norm_epsilon: float = 1e-6
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
            UserError: the patch size does not divide height and width.
        """
        x = patch_tokens(images, self.patch_size, self.hidden_dim, self.dtype)  # [B, S, C]
        fields = dict(
            tokens_mlp_dim=self.tokens_mlp_dim,
            channels_mlp_dim=self.channels_mlp_dim,
        )
        x = through_blocks(self, MixerBlock, fields, x, train)
        x = jnp.mean(x, axis=1, dtype=jnp.float32)  # [B, C]
        return linear_head(x, self.num_classes)  # [B, K]
