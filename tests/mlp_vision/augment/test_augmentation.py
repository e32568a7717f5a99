import functools

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from mlp_vision.augment import augmentation
from mlp_vision.augment.eval_presets import EVAL_PRESETS
from mlp_vision.data.host_views import EvalView
from mlp_vision.data.pictures import DecodedPicture

RNG = jax.random.key(0)


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def numpy_bilinear(image, top, left, height, width, size, bounds):
    """Half-pixel bilinear sampling, one pixel at a time."""
    out = np.zeros((size, size, 3))
    for i in range(size):
        for j in range(size):
            y = np.clip(top + (i + 0.5) * height / size - 0.5, bounds[0], bounds[1])
            x = np.clip(left + (j + 0.5) * width / size - 0.5, bounds[2], bounds[3])
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, image.shape[0] - 1), min(x0 + 1, image.shape[1] - 1)
            above = image[y0, x0] * (1 - (x - x0)) + image[y0, x1] * (x - x0)
            below = image[y1, x0] * (1 - (x - x0)) + image[y1, x1] * (x - x0)
            out[i, j] = above * (1 - (y - y0)) + below * (y - y0)
    return out


def blobs(height, width, seed=0):
    """A picture of soft shapes, in which bicubic weights hardly overshoot."""
    coarse = Image.fromarray(picture(7, 5, seed))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("shape", [(30, 50), (16, 16), (333, 250), (123, 44)])
@pytest.mark.parametrize("preset", EVAL_PRESETS)
def test_presets_on_the_device_are_those_that_pillow_makes(preset, shape):
    images = np.stack([blobs(*shape, seed) for seed in range(2)])
    if EVAL_PRESETS[preset].resampling == "bilinear":
        images[0] = images[0] // 2 + picture(*shape) // 2
    ours = augmentation.eval_view(jnp.asarray(images), 32, preset)
    theirs = [EvalView(32, preset)(DecodedPicture(Image.fromarray(image))) for image in images]
    assert np.abs(ours - np.stack(theirs)).max() <= 1.5  # Pillow rounds, twice.
    assert np.ptp(theirs) > 50


@pytest.mark.parametrize("preset", EVAL_PRESETS)
def test_presets_are_exported_for_any_number_and_size_of_pictures(preset):
    view = jax.jit(functools.partial(augmentation.eval_view, image_size=16, preset=preset))
    shape = jax.export.symbolic_shape("b, h, w, 3")
    exported = jax.export.export(view)(jax.ShapeDtypeStruct(shape, jnp.uint8))
    program = jax.export.deserialize(exported.serialize())
    for images in (picture(40, 30)[None], np.stack([picture(16, 21)] * 3), picture(16, 16)[None]):
        expected = augmentation.eval_view(jnp.asarray(images), 16, preset)
        np.testing.assert_allclose(program.call(images), expected, atol=1e-3)


def test_bicubic_views_stay_within_the_levels_of_a_picture():
    edges = np.zeros((20, 20, 3), np.uint8)
    edges[5:12, 5:12] = 255
    view = augmentation.eval_view(jnp.asarray(edges)[None], 32, "timm")
    assert view.min() == 0 and view.max() == 255


def test_a_picture_of_the_right_size_is_left_alone():
    image = picture(16, 16)[None]
    np.testing.assert_array_equal(augmentation.eval_view(image, 16, "squash"), image)


def test_crops_are_resized_from_inside_the_box_only():
    image = picture(16, 16)
    image[:, :5] = 0
    image[:, 11:] = 0
    boxes = tuple(jnp.array([v]) for v in (3, 5, 8, 6))
    ours = augmentation.crop_and_resize(jnp.asarray(image)[None], boxes, 12)[0]
    expected = numpy_bilinear(image, 3, 5, 8, 6, 12, (3, 10, 5, 10))
    np.testing.assert_allclose(ours, expected, atol=1e-3)
    assert ours[:, 0].min() > 0 or image[3:11, 5].min() == 0


@pytest.mark.parametrize("shape, min_area", [((32, 32), 0.05), ((20, 60), 0.3), ((8, 8), 0.5)])
def test_inception_crops_keep_area_aspect_and_bounds(shape, min_area):
    boxes = augmentation.inception_crops(RNG, 4000, *shape, min_area)
    top, left, height, width = (np.asarray(v) for v in boxes)
    assert (top >= 0).all() and (top + height <= shape[0]).all()
    assert (left >= 0).all() and (left + width <= shape[1]).all()
    area = height * width / (shape[0] * shape[1])
    assert area.min() >= min_area and area.max() > 0.9 * min(1, shape[0] * 4 / 3 / shape[1])
    whole = (height == shape[0]) & (width == shape[1])
    aspect = (width / height)[~whole]
    slack = 0.5 / height[~whole]  # Widths are whole pixels.
    assert (aspect >= 3 / 4 - slack).all() and (aspect <= 4 / 3 + slack).all()
    assert (top == 0).any() and (top + height == shape[0]).any() and len(np.unique(left)) > 3


def test_inception_crop_heights_are_uniform():
    _, _, height, _ = augmentation.inception_crops(RNG, 20_000, 100, 100, 0.05)
    # Of a crop with aspect ratio about 1 the height is uniform between 22 and 100.
    counts, _ = np.histogram(np.asarray(height), bins=[30, 40, 50, 60, 70, 80])
    assert counts.max() / counts.min() < 1.15


@pytest.mark.parametrize("padding", [1, 4])
def test_a_padded_crop_lies_anywhere_in_a_black_frame(padding):
    image = picture(12, 12)
    images = augmentation.framed(jnp.asarray(image)[None].repeat(500, axis=0), padding)
    moved = augmentation.random_cut(RNG, images, 12)
    framed = Image.new("RGB", (12 + 2 * padding,) * 2)
    framed.paste(Image.fromarray(image), (padding, padding))
    offsets = range(2 * padding + 1)
    cuts = [framed.crop((x, y, x + 12, y + 12)) for x in offsets for y in offsets]
    possible = {np.asarray(cut).tobytes() for cut in cuts}
    seen = [np.asarray(view).tobytes() for view in moved]
    assert set(seen) <= possible and len(set(seen)) > 0.9 * len(possible)
    assert max(map(seen.count, set(seen))) < 5 * len(seen) / len(possible)


@pytest.mark.parametrize("crop, squashed_to, frame", [("pad", 12, 2), ("squash", 16, 0)])
def test_a_view_is_squashed_and_then_cut(crop, squashed_to, frame):
    image = picture(20, 30)[None]
    sizes = dict(min_area=1.0, padding=2, crop_from=16)
    views = augmentation.train_views(RNG, image, 12, crop=crop, **sizes, flip=False)
    squashed = augmentation.eval_view(image, squashed_to, "squash")[0]
    framed = np.pad(squashed, ((frame, frame), (frame, frame), (0, 0)))
    cuts = [framed[y : y + 12, x : x + 12] for x in range(5) for y in range(5)]
    assert sum(np.allclose(views[0], cut) for cut in cuts) == 1


def test_flips_mirror_about_half_of_the_pictures():
    images = jnp.asarray(picture(4, 6)[None].repeat(200, axis=0))
    flipped = augmentation.random_flip(RNG, images)
    mirrored = np.array([np.array_equal(f, images[0, :, ::-1]) for f in flipped])
    same = np.array([np.array_equal(f, images[0]) for f in flipped])
    assert (mirrored ^ same).all() and 60 < mirrored.sum() < 140


def test_views_follow_their_key_and_differ_between_pictures():
    views = functools.partial(
        augmentation.train_views,
        image_size=8,
        crop="inception",
        min_area=0.05,
        padding=1,
        crop_from=None,
        flip=True,
    )
    images = jnp.asarray(picture(16, 16)[None].repeat(8, axis=0))
    np.testing.assert_array_equal(views(RNG, images), views(RNG, images))
    other = views(jax.random.key(1), images)
    assert np.abs(other - views(RNG, images)).max() > 1
    assert len(np.unique(np.asarray(other), axis=0)) > 1
    assert other.min() >= 0 and other.max() <= 255


def test_value_range_is_that_of_the_published_weights():
    pixels = jnp.array([0.0, 127.5, 255.0])
    np.testing.assert_allclose(augmentation.to_value_range(pixels, (-1.0, 1.0)), [-1, 0, 1])
