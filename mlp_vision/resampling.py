"""Bilinear resampling of image regions as two small matrix products, on the device.

Shapes: B batch, H and W pixels of the source, N pixels a side of the result.
"""

import jax
import jax.numpy as jnp


def axis_weights(
    start: jax.Array, length: jax.Array, lowest: jax.Array, highest: jax.Array, size: int, out: int
) -> jax.Array:
    """Bilinear weights [B, out, size] that map `size` source pixels to `out` on one axis.

    Result b spans the source interval from `start` [B], `length` [B] long, in pixels, with
    half-pixel centres and without antialiasing, like `tf.image.resize`. Samples are held inside
    the pixels `lowest` [B] to `highest` [B].
    """
    start, length, lowest, highest = (v[:, None] for v in (start, length, lowest, highest))
    centres = (jnp.arange(out) + 0.5)[None] / out
    positions = jnp.clip(start + centres * length - 0.5, lowest, highest)  # [B, out]
    pixels = jnp.arange(size, dtype=jnp.float32)[None, None]
    return jnp.maximum(1 - jnp.abs(positions[:, :, None] - pixels), 0)  # [B, out, size]


def resample(images: jax.Array, rows: jax.Array, columns: jax.Array) -> jax.Array:
    """Applies weights [B or 1, N, H] and [B or 1, N, W] to [B, H, W, 3]: [B, N, N, 3], float32."""
    images = images.astype(jnp.float32)
    # Bilinear weights in bfloat16 would shift colours; this is what an accelerator defaults to.
    highest = jax.lax.Precision.HIGHEST
    rows = jnp.broadcast_to(rows, (images.shape[0], *rows.shape[1:]))
    columns = jnp.broadcast_to(columns, (images.shape[0], *columns.shape[1:]))
    images = jnp.einsum("bnh,bhwc->bnwc", rows, images, precision=highest)
    return jnp.einsum("bmw,bnwc->bnmc", columns, images, precision=highest)
