"""From uint8 pictures to model input, on the device: training's crops and flips, eval presets.

Shapes: B batch, H and W pixels of the source, N pixels a side of the model's input.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from mlp_vision.resampling import axis_weights, resample

# Sampling a crop fails now and then on the least area; then the whole picture is taken.
CROP_ATTEMPTS = 10
ASPECT_RATIOS = (3 / 4, 4 / 3)


def inception_crops(
    rng: jax.Array, batch: int, height: int, width: int, min_area: float
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Random crop boxes as top, left, height and width, each int32 [B], in whole pixels.

    Drawn as by `tf.image.sample_distorted_bounding_box`, which the published recipes use: an
    aspect ratio, uniform in 3/4 to 4/3; then a height, uniform among those that give an area
    between `min_area` and 1 of the picture; then a place.
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
    """Cuts a box out of each image and resizes it bilinearly: [B, N, N, 3], float32, 0 to 255."""
    top, left, crop_height, crop_width = (v.astype(jnp.float32) for v in boxes)
    height, width = images.shape[1:3]
    rows = axis_weights(top, crop_height, top, top + crop_height - 1, height, image_size)
    columns = axis_weights(left, crop_width, left, left + crop_width - 1, width, image_size)
    return resample(images, rows, columns)


def random_flip(rng: jax.Array, images: jax.Array) -> jax.Array:
    """Mirrors each image left to right with probability 1/2."""
    flips = jax.random.bernoulli(rng, shape=(images.shape[0], 1, 1, 1))
    return jnp.where(flips, images[:, :, ::-1], images)


def train_views(
    rng: jax.Array, images: jax.Array, image_size: int, *, crop: str, min_area: float, flip: bool
) -> jax.Array:
    """Training's random views of [B, H, W, 3], uint8: [B, N, N, 3], float32, 0 to 255."""
    crop_rng, flip_rng = jax.random.split(rng)
    if crop == "inception":
        boxes = inception_crops(crop_rng, *images.shape[:3], min_area)
        images = crop_and_resize(images, boxes, image_size)
    else:
        images = squash(images, image_size)
    return random_flip(flip_rng, images) if flip else images


def squash(images: jax.Array, image_size: int) -> jax.Array:
    """Resizes to N x N whatever the aspect ratio, as google-research/vision_transformer does."""
    height, width = images.shape[1:3]
    if (height, width) == (image_size, image_size):
        return images.astype(jnp.float32)
    return _resize_region(images, image_size, top=0.0, left=0.0, height=height, width=width)


def resize_crop(images: jax.Array, image_size: int) -> jax.Array:
    """Resizes to 8/7 N x 8/7 N whatever the aspect ratio, then takes the centre (256 to 224).

    MLP-Mixer, appendix C, for table 2.
    """
    height, width = images.shape[1:3]
    return _centre(images, image_size, height * 7 / 8, width * 7 / 8)


def resmall_crop(images: jax.Array, image_size: int) -> jax.Array:
    """Resizes the shorter side to 8/7 N, then takes the centre (256 to 224).

    MLP-Mixer, appendix C, for table 3.
    """
    side = min(images.shape[1:3]) * 7 / 8
    return _centre(images, image_size, side, side)


EVAL_PRESETS: dict[str, Callable[[jax.Array, int], jax.Array]] = {
    "squash": squash,
    "resize_crop": resize_crop,
    "resmall_crop": resmall_crop,
}


def to_value_range(images: jax.Array, value_range: tuple[float, float]) -> jax.Array:
    """Maps 0 to 255 onto the given range."""
    low, high = value_range
    return images * ((high - low) / 255) + low


def _centre(images: jax.Array, image_size: int, height: float, width: float) -> jax.Array:
    top, left = (images.shape[1] - height) / 2, (images.shape[2] - width) / 2
    return _resize_region(images, image_size, top=top, left=left, height=height, width=width)


def _resize_region(
    images: jax.Array, image_size: int, *, top: float, left: float, height: float, width: float
) -> jax.Array:
    """The same region of every image, resized; samples may come from pixels next to it."""

    def weights(start, length, size):
        edges = jnp.zeros(1), jnp.full(1, size - 1.0)
        return axis_weights(jnp.array([start]), jnp.array([length]), *edges, size, image_size)

    rows = weights(top, float(height), images.shape[1])
    columns = weights(left, float(width), images.shape[2])
    return resample(images, rows, columns)
