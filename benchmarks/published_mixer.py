"""MLP-Mixer as its authors' code computes it, to compare with: the program, not their text.

Float32 tensors, the default precision of matrix products, token mixing by a transposed copy and a
dense layer. Source: arXiv:2105.01601, section 2 and appendix E.
"""

import flax.linen as nn
import jax.numpy as jnp


class PublishedMixer(nn.Module):
    """As `mlp_vision.models.mixer.Mixer` with the same sizes."""

    num_classes: int
    patch_size: int
    hidden_dim: int
    num_blocks: int
    tokens_mlp_dim: int
    channels_mlp_dim: int

    @nn.compact
    def __call__(self, images, *, train: bool = False):
        """Maps images [B, H, W, 3] to logits [B, K]."""
        patch = (self.patch_size, self.patch_size)
        x = nn.Conv(self.hidden_dim, patch, strides=patch)(images)
        x = x.reshape(len(x), -1, self.hidden_dim)
        for _ in range(self.num_blocks):
            y = jnp.swapaxes(nn.LayerNorm()(x), 1, 2)
            x = x + jnp.swapaxes(_mlp(self.tokens_mlp_dim, y), 1, 2)
            x = x + _mlp(self.channels_mlp_dim, nn.LayerNorm()(x))
        x = jnp.mean(nn.LayerNorm()(x), axis=1)
        return nn.Dense(self.num_classes, kernel_init=nn.initializers.zeros)(x)


def _mlp(hidden_dim: int, x):
    y = nn.gelu(nn.Dense(hidden_dim)(x))
    return nn.Dense(x.shape[-1])(y)
