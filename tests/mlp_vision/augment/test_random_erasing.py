import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlp_vision.augment.augmentation import to_value_range
from mlp_vision.augment.mixing import box_masks, random_erasing

RNG = jax.random.key(0)
SIZE = 64


def spans(masks, axis):
    """Length of each box along an axis."""
    return np.asarray(masks).any(axis).sum(-1)


def test_boxes_keep_area_and_aspect():
    masks = np.asarray(box_masks(RNG, 4000, SIZE))
    height, width = spans(masks, 2), spans(masks, 1)
    assert (masks.sum((1, 2)) == height * width).all()  # One box, all of it.
    areas = height * width / SIZE**2
    slack = (height + width + 1) / 2 / SIZE**2  # Sides are whole pixels.
    assert (areas >= 0.02 - slack).all() and (areas <= 1 / 3 + slack).all()
    counts, _ = np.histogram(areas, bins=[0.03, 0.09, 0.15, 0.21, 0.27, 0.33])
    assert counts.max() / counts.min() < 1.35  # Uniform.
    aspect = np.log(height / width)
    assert abs(aspect).max() < np.log(1 / 0.3) + 0.1 and abs(aspect.mean()) < 0.05
    assert np.quantile(aspect, 0.75) == pytest.approx(np.log(1 / 0.3) / 2, abs=0.1)


def test_boxes_lie_anywhere_inside():
    masks = np.asarray(box_masks(RNG, 4000, SIZE))
    cover = masks.mean(0)
    assert cover[0].max() > 0 and cover[-1].max() > 0 and cover[:, 0].max() > 0
    assert cover[:, -1].max() > 0 and cover.argmax() not in (0, SIZE**2 - 1)
    tops = masks.any(2).argmax(1)
    # Of boxes half as tall as the picture, the top is uniform over what is left.
    half = tops[np.abs(spans(masks, 2) - SIZE / 2) < 4]
    assert len(half) > 100 and abs(half.mean() - SIZE / 4) < 2


@pytest.mark.parametrize("probability", [0.0, 0.25, 1.0])
def test_so_many_pictures_are_erased(probability):
    images = jnp.full((800, 16, 16, 3), 1000.0)
    erased = random_erasing(RNG, images, probability)
    share = (np.asarray(erased) != 1000).any((1, 2, 3)).mean()
    assert abs(share - probability) < 0.05
    if probability in (0, 1):
        assert share == probability


def test_noise_is_normal_for_each_pixel_where_pixels_go_from_minus_one_to_one():
    images = jnp.full((200, 32, 32, 3), jnp.inf)
    values = np.asarray(to_value_range(random_erasing(RNG, images, 1.0), (-1.0, 1.0)))
    noise = values[np.isfinite(values)]
    assert abs(noise.mean()) < 0.02 and abs(noise.std() - 1) < 0.02
    assert len(np.unique(noise)) > 0.99 * len(noise) and noise.max() > 3


def test_erasing_follows_its_key():
    images = jnp.zeros((8, 16, 16, 3))
    once = random_erasing(RNG, images, 0.5)
    np.testing.assert_array_equal(once, random_erasing(RNG, images, 0.5))
    assert (once != random_erasing(jax.random.key(1), images, 0.5)).any()
