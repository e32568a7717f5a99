"""Preprocessing of uint8 images on the device: training crops and flips, eval presets.

Shapes: B batch, H and W pixels of the source, N pixels per side of the model's input.
"""

import jax
import jax.numpy as jnp

from mlp_vision.augment.eval_presets import EVAL_PRESETS
from mlp_vision.augment.resampling import antialiased_weights, axis_weights, resample

# Sampled crops are sometimes smaller than the minimum area; if all are, the whole image is used.
CROP_ATTEMPTS = 10
ASPECT_RATIOS = (3 / 4, 4 / 3)


def inception_crops(
    rng: jax.Array, batch: int, height: int, width: int, min_area: float
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Samples crop boxes as top, left, height and width, each int32 [B], in pixels.

    Samples like `tf.image.sample_distorted_bounding_box`, which the published recipes use: an
    aspect ratio, uniform in 3/4 to 4/3; then a height, uniform among those that give an area
    between `min_area` and 1 of the image; then a position.
    """
    aspect_rng, height_rng, top_rng, left_rng = jax.random.split(rng, 4)
    shape = (batch, CROP_ATTEMPTS)
    aspect = jax.random.uniform(aspect_rng, shape, minval=ASPECT_RATIOS[0], maxval=ASPECT_RATIOS[1])
    lowest = jnp.round(jnp.sqrt(min_area * height * width / aspect))
    highest = jnp.round(jnp.sqrt(height * width / aspect))
    highest = jnp.minimum(highest, jnp.floor((width + 0.499) / aspect))
    highest = jnp.minimum(highest, height)
    lowest = jnp.minimum(lowest, highest)
    crop_height = lowest + jnp.floor(jax.random.uniform(height_rng, shape) * (highest - lowest + 1))
    crop_height = jnp.minimum(crop_height, highest)
    crop_width = jnp.round(crop_height * aspect)

    area = crop_height * crop_width
    fits = (
        (area >= min_area * height * width)
        & (crop_height >= 1)
        & (crop_width >= 1)
        & (crop_width <= width)
    )
    first = jnp.argmax(fits, axis=1)[:, None]
    found = fits.any(axis=1)

    def chosen(values, whole):
        return jnp.where(found, jnp.take_along_axis(values, first, axis=1)[:, 0], whole)

    crop_height, crop_width = chosen(crop_height, height), chosen(crop_width, width)
    top = jnp.floor(jax.random.uniform(top_rng, (batch,)) * (height - crop_height + 1))
    left = jnp.floor(jax.random.uniform(left_rng, (batch,)) * (width - crop_width + 1))
    top = jnp.minimum(top, height - crop_height)
    left = jnp.minimum(left, width - crop_width)
    return tuple(v.astype(jnp.int32) for v in (top, left, crop_height, crop_width))


def crop_and_resize(
    images: jax.Array, boxes: tuple[jax.Array, jax.Array, jax.Array, jax.Array], image_size: int
) -> jax.Array:
    """Crops a box from each image and resizes it bilinearly: [B, N, N, 3], float32, 0 to 255."""
    top, left, crop_height, crop_width = (v.astype(jnp.float32) for v in boxes)
    height, width = images.shape[1:3]
    rows = axis_weights(top, crop_height, top, top + crop_height - 1, height, image_size)
    columns = axis_weights(left, crop_width, left, left + crop_width - 1, width, image_size)
    return resample(images, rows, columns)


def random_flip(rng: jax.Array, images: jax.Array) -> jax.Array:
    """Flips each image left to right with probability 1/2."""
    flips = jax.random.bernoulli(rng, shape=(images.shape[0], 1, 1, 1))
    return jnp.where(flips, images[:, :, ::-1], images)


def framed(images: jax.Array, padding: int) -> jax.Array:
    """Pads [B, N, N, 3] with black pixels to [B, N + 2 padding, N + 2 padding, 3]."""
    return jnp.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))


def random_cut(rng: jax.Array, images: jax.Array, image_size: int) -> jax.Array:
    """Takes a random N x N crop from each image in [B, M, M, 3]."""
    corners = jax.random.randint(rng, (len(images), 2), 0, images.shape[1] - image_size + 1)

    def cut(image, corner):
        return jax.lax.dynamic_slice(image, (*corner, 0), (image_size, image_size, 3))

    return jax.vmap(cut)(images, corners)


def train_views(
    rng: jax.Array,
    images: jax.Array,
    image_size: int,
    *,
    crop: str,
    min_area: float,
    padding: int,
    crop_from: int | None,
    flip: bool,
) -> jax.Array:
    """Returns random training views of [B, H, W, 3], uint8: [B, N, N, 3], float32, 0 to 255.

    Crops are "inception" of at least `min_area`; "pad", squashed to N x N and shifted by up to
    `padding` pixels, usually 4 for CIFAR; "squash", N x N of the image squashed to `crop_from`
    pixels per side; or "none", squashed.
    """
    crop_rng, flip_rng = jax.random.split(rng)
    if crop == "inception":
        boxes = inception_crops(crop_rng, *images.shape[:3], min_area)
        images = crop_and_resize(images, boxes, image_size)
    elif crop == "pad":
        squashed = eval_view(images, image_size, "squash")
        images = random_cut(crop_rng, framed(squashed, padding), image_size)
    elif crop == "squash":
        images = random_cut(crop_rng, eval_view(images, crop_from, "squash"), image_size)
    else:
        images = eval_view(images, image_size, "squash")
    return random_flip(flip_rng, images) if flip else images


def eval_view(images: jax.Array, image_size: int, preset: str) -> jax.Array:
    """Applies one of `EVAL_PRESETS` to [B, H, W, 3], uint8: [B, N, N, 3], float32, 0 to 255.

    Pixels match Pillow's up to rounding. B, H and W may be symbolic.
    """
    height, width = images.shape[1:3]
    if preset == "squash" and (height, width) == (image_size, image_size):
        return images.astype(jnp.float32)
    resampling, span = EVAL_PRESETS[preset].resampling, EVAL_PRESETS[preset].span
    shorter = jnp.minimum(height, width)  # Python's `min` needs concrete sizes.
    rows, columns = (
        antialiased_weights(resampling, length, *span(length, shorter, image_size), image_size)
        for length in (height, width)
    )
    return resample(images, rows, columns)


def to_value_range(images: jax.Array, value_range: tuple[float, float]) -> jax.Array:
    """Rescales images from 0 to 255 to the given range."""
    low, high = value_range
    return images * ((high - low) / 255) + low
