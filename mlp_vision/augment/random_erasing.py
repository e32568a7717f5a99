"""Random erasing (arXiv:1708.04896): noise in place of a box of some pictures, on the device.

Numbers as in timm, which DeiT uses: boxes of 2 to 33 % of the picture, between three times as tall
and three times as wide, filled with normal noise, drawn for each pixel and colour.
Shapes: B batch, N pixels a side.
"""

import jax
import jax.numpy as jnp

AREAS = (0.02, 1 / 3)  # Shares of the picture, uniform.
ASPECT_RATIOS = (0.3, 1 / 0.3)  # Height by width, uniform in the logarithm.
MIDDLE = 127.5  # Noise has this mean and standard deviation: 0 and 1 where pixels go from -1 to 1.


def random_erasing(rng: jax.Array, images: jax.Array, probability: float) -> jax.Array:
    """Erases a box in each of [B, N, N, 3], float32, 0 to 255, with `probability`.

    The noise is not cut off at 0 and 255.
    """
    chosen_rng, box_rng, noise_rng = jax.random.split(rng, 3)
    chosen = jax.random.bernoulli(chosen_rng, probability, (len(images), 1, 1))
    erased = chosen & box_masks(box_rng, *images.shape[:2])  # [B, N, N]
    noise = MIDDLE + MIDDLE * jax.random.normal(noise_rng, images.shape)
    return jnp.where(erased[..., None], noise, images)


def box_masks(rng: jax.Array, batch: int, size: int) -> jax.Array:
    """A random box for each picture: bool [B, N, N], N being `size`."""
    area_rng, aspect_rng, place_rng = jax.random.split(rng, 3)
    areas = size**2 * jax.random.uniform(area_rng, (batch,), minval=AREAS[0], maxval=AREAS[1])
    low, high = jnp.log(jnp.array(ASPECT_RATIOS))
    aspect = jnp.exp(jax.random.uniform(aspect_rng, (batch,), minval=low, maxval=high))
    sides = jnp.round(jnp.sqrt(jnp.stack([areas * aspect, areas / aspect], axis=1)))  # [B, 2]
    sides = jnp.minimum(sides, size)  # timm draws these few boxes, under 1 %, anew.
    corners = jnp.floor(jax.random.uniform(place_rng, (batch, 2)) * (size - sides + 1))
    corners, sides = corners[..., None], sides[..., None]
    places = jnp.arange(size)[None, None]
    inside = (places >= corners) & (places < corners + sides)  # [B, 2, N]
    return inside[:, 0, :, None] & inside[:, 1, None, :]
