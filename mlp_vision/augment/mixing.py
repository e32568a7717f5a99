"""Mixup, CutMix and random erasing of a batch of images, on the device.

Mixup and CutMix draw once per batch, and the partner of each row is the previous row, the last one
for the first, as in google-research/big_vision.
Shapes: B batch, N pixels per side, K classes.
"""

import jax
import jax.numpy as jnp

AREAS = (0.02, 1 / 3)  # Fractions of the image, uniform.
ASPECT_RATIOS = (0.3, 1 / 0.3)  # Height over width, log-uniform.
MIDDLE = 127.5  # Mean and standard deviation of noise: 0 and 1 for pixels in [-1, 1].


def mix(
    rng: jax.Array,
    images: jax.Array,
    shares: jax.Array,
    *,
    mixup_alpha: float,
    cutmix_alpha: float,
    cutmix_probability: float,
) -> tuple[jax.Array, jax.Array]:
    """Mixes images [B, N, N, 3] and their class probabilities [B, K], both float.

    An alpha of 0 disables its method. If both are enabled, CutMix is applied to a batch with
    `cutmix_probability`, otherwise mixup.
    """
    switch_rng, rng = jax.random.split(rng)
    if mixup_alpha == 0:
        return cutmix(rng, images, shares, cutmix_alpha)
    if cutmix_alpha == 0:
        return mixup(rng, images, shares, mixup_alpha)
    return jax.lax.cond(
        jax.random.bernoulli(switch_rng, cutmix_probability),
        lambda: cutmix(rng, images, shares, cutmix_alpha),
        lambda: mixup(rng, images, shares, mixup_alpha),
    )


def mixup(
    rng: jax.Array, images: jax.Array, shares: jax.Array, alpha: float
) -> tuple[jax.Array, jax.Array]:
    """Blends images and class probabilities with a Beta(alpha, alpha) weight (arXiv:1710.09412).

    As in big_vision, the weight of the image itself is the larger one, at least 1/2.
    """
    own = jax.random.beta(rng, alpha, alpha)
    own = jnp.maximum(own, 1 - own)
    return _blend(own, images), _blend(own, shares)


def cutmix(
    rng: jax.Array, images: jax.Array, shares: jax.Array, alpha: float
) -> tuple[jax.Array, jax.Array]:
    """Replaces a box of each image with its partner's (arXiv:1905.04899).

    The box has the image's aspect ratio, a relative area from Beta(alpha, alpha) and a uniform
    centre, and is clipped at the border. Class probabilities are weighted by the clipped area.
    """
    boxes = box_mask(rng, images.shape[1], alpha)  # [N, N]
    mixed = jnp.where(boxes[None, :, :, None], _partners(images), images)
    return mixed, _blend(1 - boxes.mean(), shares)


def box_mask(rng: jax.Array, size: int, alpha: float) -> jax.Array:
    """Returns the mask of the partner's pixels in CutMix: bool [N, N] with N = `size`."""
    area_rng, centre_rng = jax.random.split(rng)
    side = jnp.floor(size * jnp.sqrt(jax.random.beta(area_rng, alpha, alpha))).astype(jnp.int32)
    first = jax.random.randint(centre_rng, (2,), 0, size) - side // 2
    places = jnp.arange(size)[None]
    rows, columns = (places >= first[:, None]) & (places < (first + side)[:, None])  # [N] each
    return rows[:, None] & columns[None]


def _partners(rows: jax.Array) -> jax.Array:
    return jnp.roll(rows, 1, axis=0)


def _blend(own: jax.Array, rows: jax.Array) -> jax.Array:
    return own * rows + (1 - own) * _partners(rows)


def random_erasing(rng: jax.Array, images: jax.Array, probability: float) -> jax.Array:
    """Fills a box in each image [B, N, N, 3], float32, 0 to 255, with noise with `probability`.

    The noise is not clipped to 0 and 255.
    """
    chosen_rng, box_rng, noise_rng = jax.random.split(rng, 3)
    chosen = jax.random.bernoulli(chosen_rng, probability, (len(images), 1, 1))
    erased = chosen & box_masks(box_rng, *images.shape[:2])  # [B, N, N]
    noise = MIDDLE + MIDDLE * jax.random.normal(noise_rng, images.shape)
    return jnp.where(erased[..., None], noise, images)


def box_masks(rng: jax.Array, batch: int, size: int) -> jax.Array:
    """Returns the mask of a random box per image: bool [B, N, N] with N = `size`."""
    area_rng, aspect_rng, place_rng = jax.random.split(rng, 3)
    areas = size**2 * jax.random.uniform(area_rng, (batch,), minval=AREAS[0], maxval=AREAS[1])
    low, high = jnp.log(jnp.array(ASPECT_RATIOS))
    aspect = jnp.exp(jax.random.uniform(aspect_rng, (batch,), minval=low, maxval=high))
    sides = jnp.round(jnp.sqrt(jnp.stack([areas * aspect, areas / aspect], axis=1)))  # [B, 2]
    sides = jnp.minimum(sides, size)  # timm redraws these boxes, under 1 %.
    corners = jnp.floor(jax.random.uniform(place_rng, (batch, 2)) * (size - sides + 1))
    corners, sides = corners[..., None], sides[..., None]
    places = jnp.arange(size)[None, None]
    inside = (places >= corners) & (places < corners + sides)  # [B, 2, N]
    return inside[:, 0, :, None] & inside[:, 1, None, :]
