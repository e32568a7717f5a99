"""Images to tokens: one linear map for all patches of P x P pixels.

Shapes: B batch, H and W pixels, S = (H / P) * (W / P) tokens in row-major order, C channels.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mlp_core.errors import UserError


def patch_tokens(images: jax.Array, patch_size: int, hidden_dim: int, dtype: Any) -> jax.Array:
    """Maps [B, H, W, 3] to [B, S, C] by a submodule `stem` of the module that calls.

    Raises:
        UserError: the patch size does not divide height and width.
    """
    check_patch_size(patch_size, images.shape[1:3])
    patch = (patch_size, patch_size)
    x = nn.Conv(hidden_dim, patch, strides=patch, dtype=dtype, name="stem")(images)
    return x.reshape(x.shape[0], -1, hidden_dim)


def with_class_token(model: nn.Module, x: jax.Array, init: Callable) -> jax.Array:
    """Maps tokens [B, S, C] to [B, 1 + S, C]: a learned one, `class_token` of `model`, before."""
    batch, _, channels = x.shape
    token = model.param("class_token", init, (1, 1, channels))
    token = jnp.broadcast_to(token.astype(x.dtype), (batch, 1, channels))
    return jnp.concatenate([token, x], axis=1)


def check_patch_size(patch_size: int, image_shape: tuple[int, int]) -> None:
    """Refuses a patch size that does not divide height and width.

    Raises:
        UserError: names both and the nearest smaller and larger sizes that fit.
    """
    if any(side % patch_size for side in image_shape):
        side = next(side for side in image_shape if side % patch_size)
        below = max(side // patch_size, 1) * patch_size
        raise UserError(
            f"patches of {patch_size} pixels do not divide images of {image_shape[0]} x "
            f"{image_shape[1]}; {below} or {below + patch_size} pixels would fit."
        )
