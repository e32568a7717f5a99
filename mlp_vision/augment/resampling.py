"""Resampling of image regions as two small matrix products, on the device.

Shapes: B batch, H and W pixels of the source, N pixels per side of the result.
"""

import jax
import jax.numpy as jnp


def axis_weights(
    start: jax.Array, length: jax.Array, lowest: jax.Array, highest: jax.Array, size: int, out: int
) -> jax.Array:
    """Returns bilinear weights [B, out, size] from `size` source pixels to `out` on one axis.

    Result b spans the source interval from `start` [B], `length` [B] long, in pixels, with
    half-pixel centres and without antialiasing, like `tf.image.resize`. Samples are clamped to
    the pixels `lowest` [B] to `highest` [B].
    """
    start, length, lowest, highest = (v[:, None] for v in (start, length, lowest, highest))
    centres = (jnp.arange(out) + 0.5)[None] / out
    positions = jnp.clip(start + centres * length - 0.5, lowest, highest)  # [B, out]
    pixels = jnp.arange(size, dtype=jnp.float32)[None, None]
    return jnp.maximum(1 - jnp.abs(positions[:, :, None] - pixels), 0)  # [B, out, size]


def antialiased_weights(
    resampling: str, size: int, resized: int | jax.Array, first: int | jax.Array, out: int
) -> jax.Array:
    """Weights [out, size] for pixels `first` to `first + out` - 1 of an axis resized to `resized`.

    As in Pillow, the filter ("bilinear" or "bicubic") widens when downsampling, and the weights of
    each output sum to one, at the border too. `size` may be symbolic; both sizes below 32,768.
    """
    results = 2 * (first + jnp.arange(out)) + 1  # Centres in half pixels.
    pixels = 2 * jnp.arange(size) + 1
    # Distances are integers, since float32 would be too imprecise for positions in large images.
    distances = results[:, None] * size - pixels[None] * resized
    weights = FILTERS[resampling](jnp.abs(distances / (2 * jnp.maximum(size, resized))))
    return weights / weights.sum(axis=1, keepdims=True)


def _triangle(x: jax.Array) -> jax.Array:
    return jnp.maximum(1 - x, 0)


def _cubic(x: jax.Array) -> jax.Array:
    """Keys' cubic convolution with a = -1/2."""
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return jnp.where(x < 1, near, jnp.where(x < 2, far, 0))


FILTERS = {"bilinear": _triangle, "bicubic": _cubic}


def resample(images: jax.Array, rows: jax.Array, columns: jax.Array) -> jax.Array:
    """Applies weights to [B, H, W, 3]: [B, N, N, 3], float32, 0 to 255.

    Weights are [B, N, H] and [B, N, W], or [N, H] and [N, W] for the same region of every image.
    """
    images = images.astype(jnp.float32)
    # Accelerators default to bfloat16, whose weights would shift colours.
    highest = jax.lax.Precision.HIGHEST
    each = "b" if rows.ndim == 3 else ""
    # Bicubic weights overshoot, so both passes clip, as in Pillow. Pillow's order of the passes
    # depends on shape and version, which makes a visible difference only in noise.
    images = jnp.einsum(f"{each}mw,bhwc->bhmc", columns, images, precision=highest).clip(0, 255)
    return jnp.einsum(f"{each}nh,bhmc->bnmc", rows, images, precision=highest).clip(0, 255)
