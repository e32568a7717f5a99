"""Bilinear resampling of image regions as two small matrix products, on the device.

Shapes: B batch, H and W pixels of the source, N pixels a side of the result.
"""

import jax
import jax.numpy as jnp


def axis_weights(
    start: jax.Array, length: jax.Array, lowest: jax.Array, highest: jax.Array, size: int, out: int
) -> jax.Array:
    """Bilinear weights [..., out, size] that map source pixels to result pixels on one axis.

    The result spans the source interval [start, start + length), in pixels, with half-pixel
    centres and without antialiasing, like `tf.image.resize`. Samples are held inside pixels
    `lowest` to `highest`.
    """
    centres = (jnp.arange(out) + 0.5) / out
    positions = start[..., None] + centres * length[..., None] - 0.5  # [..., out]
    positions = jnp.clip(positions, lowest[..., None], highest[..., None])
    distance = jnp.abs(positions[..., None] - jnp.arange(size, dtype=jnp.float32))
    return jnp.maximum(1 - distance, 0)  # [..., out, size]


def resample(images: jax.Array, rows: jax.Array, columns: jax.Array) -> jax.Array:
    """Applies weights [B or 1, N, H] and [B or 1, N, W] to [B, H, W, 3]: [B, N, N, 3], float32."""
    images = images.astype(jnp.float32)
    # Bilinear weights in bfloat16 would shift colours; this is what an accelerator defaults to.
    highest = jax.lax.Precision.HIGHEST
    rows = jnp.broadcast_to(rows, (images.shape[0], *rows.shape[1:]))
    columns = jnp.broadcast_to(columns, (images.shape[0], *columns.shape[1:]))
    images = jnp.einsum("bnh,bhwc->bnwc", rows, images, precision=highest)
    return jnp.einsum("bmw,bnwc->bnmc", columns, images, precision=highest)
