"""Shared parts of the image architectures: patch embedding, token grids, blocks and head.

Shapes: B batch, H and W pixels, S = (H / P) * (W / P) tokens in row-major order, C channels.
"""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mlp_core.errors import UserError
from mlp_core.nn.stack import block_stack


def patch_tokens(images: jax.Array, patch_size: int, hidden_dim: int, dtype: Any) -> jax.Array:
    """Maps [B, H, W, 3] to [B, S, C] with a submodule `stem` of the calling module.

    Raises:
        UserError: the patch size does not divide height and width.
    """
    check_patch_size(patch_size, images.shape[1:3])
    patch = (patch_size, patch_size)
    x = nn.Conv(hidden_dim, patch, strides=patch, dtype=dtype, name="stem")(images)
    return x.reshape(x.shape[0], -1, hidden_dim)


def with_class_token(model: nn.Module, x: jax.Array, init: Callable) -> jax.Array:
    """Prepends the learned `class_token` of `model`: maps [B, S, C] to [B, 1 + S, C]."""
    batch, _, channels = x.shape
    token = model.param("class_token", init, (1, 1, channels))
    token = jnp.broadcast_to(token.astype(x.dtype), (batch, 1, channels))
    return jnp.concatenate([token, x], axis=1)


def check_patch_size(patch_size: int, image_shape: tuple[int, int]) -> None:
    """Checks that the patch size divides height and width.

    Raises:
        UserError: it does not; the message names the nearest sizes that fit.
    """
    if any(side % patch_size for side in image_shape):
        side = next(side for side in image_shape if side % patch_size)
        below = max(side // patch_size, 1) * patch_size
        raise UserError(
            f"patches of {patch_size} pixels do not divide images of {image_shape[0]} x "
            f"{image_shape[1]}; {below} or {below + patch_size} pixels would fit."
        )


def through_blocks(
    model: nn.Module, block: type[nn.Module], fields: Mapping[str, Any], x: jax.Array, train: bool
) -> jax.Array:
    """Applies blocks and a LayerNorm, submodules of `model`, to tokens [B, S, C].

    Args:
      model: the calling module, which must be compact; its fields set the number of blocks,
        their numerics and their training options.
      block: see `block_stack`.
      fields: the block's fields that are specific to the architecture.
      x: tokens.
      train: whether to apply dropout and stochastic depth.
    """
    x = block_stack(
        block,
        {
            **fields,
            "gelu": model.gelu,
            "layer_norm_epsilon": model.layer_norm_epsilon,
            "dropout_rate": model.dropout_rate,
            "drop_path_rescaled": model.stochastic_depth_rescaled,
            "dtype": model.dtype,
        },
        x,
        num_blocks=model.num_blocks,
        train=train,
        stochastic_depth=model.stochastic_depth,
        scan_layers=model.scan_layers,
        remat=model.remat,
    )
    norm = nn.LayerNorm(
        epsilon=model.layer_norm_epsilon, dtype=model.dtype, name="pre_head_layer_norm"
    )
    return norm(x)


def bilinear(grid: int, new_grid: int) -> np.ndarray:
    """Returns weights [new S, S] of an antialiased bilinear resize; S tokens in row-major order."""
    centres = (np.arange(new_grid) + 0.5) * grid / new_grid - 0.5
    axis = triangles(centres, np.arange(grid), grid / new_grid)
    return np.kron(axis, axis)


def triangles(centres: np.ndarray, places: np.ndarray, spacing: float) -> np.ndarray:
    """Returns weights [new, old] from values at `places`, one apart, to values at `centres`.

    When downsampling, the filter is as wide as `spacing`, the distance between centres. The weights
    of each centre sum to one, at the border too.
    """
    distance = np.abs(centres[:, None] - places) / max(spacing, 1.0)
    weights = np.maximum(1 - distance, 0)
    return weights / weights.sum(1, keepdims=True)


def interpolation(grid: int, new_grid: int) -> np.ndarray:
    """Returns weights [new S, S] of linear interpolation between tokens with aligned corners.

    Matches `scipy.ndimage.zoom(..., order=1)`, with which Google's code resizes positions.
    """
    centres = np.linspace(0, grid - 1, new_grid) if new_grid > 1 else np.zeros(1)
    axis = triangles(centres, np.arange(grid), 1.0)
    return np.kron(axis, axis)


def linear_head(features: jax.Array, num_classes: int) -> jax.Array:
    """Maps [B, C] to [B, K], float32, with a zero-initialized `head`; identity for 0 classes."""
    if num_classes == 0:
        return features
    return nn.Dense(num_classes, kernel_init=nn.initializers.zeros, name="head")(features)
