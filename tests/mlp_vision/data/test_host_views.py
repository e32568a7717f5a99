import resource

import jax
import numpy as np
import pytest
from PIL import Image

from mlp_vision.augment.augmentation import crop_and_resize, inception_crops
from mlp_vision.augment.eval_presets import EVAL_PRESETS
from mlp_vision.augment.policies import RandAugment
from mlp_vision.data.host_views import EvalView, TrainView, inception_crop
from mlp_vision.data.pictures import DecodedPicture
from tests.mlp_vision.data.made_photos import photo


def crops(count, height, width, min_area):
    rng = np.random.default_rng(0)
    return np.array([inception_crop(rng, height, width, min_area) for _ in range(count)]).T


@pytest.mark.parametrize("shape, min_area", [((32, 32), 0.05), ((20, 60), 0.3), ((8, 8), 0.5)])
def test_inception_crops_keep_area_aspect_and_bounds(shape, min_area):
    top, left, height, width = crops(3000, *shape, min_area)
    assert (top >= 0).all() and (top + height <= shape[0]).all()
    assert (left >= 0).all() and (left + width <= shape[1]).all()
    area = height * width / (shape[0] * shape[1])
    assert area.min() >= min_area and area.max() > 0.9 * min(1, shape[0] * 4 / 3 / shape[1])
    whole = (height == shape[0]) & (width == shape[1])
    aspect = (width / height)[~whole]
    slack = 0.5 / height[~whole]  # Widths are whole pixels.
    assert (aspect >= 3 / 4 - slack).all() and (aspect <= 4 / 3 + slack).all()
    assert (top == 0).any() and (top + height == shape[0]).any() and len(np.unique(left)) > 3


@pytest.mark.parametrize("height, width", [(60, 80), (80, 40)])
def test_crops_are_distributed_as_those_of_the_device(height, width):
    ours = crops(6000, height, width, 0.05)
    device = np.array(inception_crops(jax.random.key(0), 6000, height, width, 0.05))
    for here, there in zip(ours, device, strict=True):
        assert abs(here.mean() - there.mean()) < 0.05 * there.std()
        assert abs(here.std() / there.std() - 1) < 0.05


def test_a_picture_that_no_crop_fits_is_taken_whole():
    assert inception_crop(np.random.default_rng(0), 2, 400, 0.5) == (0, 0, 2, 400)


def test_a_training_view_is_a_crop_resized():
    image = photo(3)
    view = TrainView(24, "inception", 0.1, 4)(DecodedPicture(image), np.random.default_rng(7))
    box = inception_crop(np.random.default_rng(7), image.height, image.width, 0.1)
    on_device = crop_and_resize(np.asarray(image)[None], np.array(box)[:, None], 24)[0]
    assert np.abs(view - np.asarray(on_device)).max() <= 1.5  # Whole levels, small weights rounded.
    assert view.dtype == np.uint8 and view.shape == (24, 24, 3)


def test_without_a_crop_training_sees_the_whole_picture_squashed():
    picture = DecodedPicture(photo(3))
    view = TrainView(24, "none", 0.1, 4)(picture, np.random.default_rng(7))
    np.testing.assert_array_equal(view, EvalView(24, "squash")(picture))


def test_a_padded_view_is_squashed_and_moved():
    image = photo(3)
    picture = DecodedPicture(image)
    squashed = np.asarray(image.resize((24, 24), Image.Resampling.BILINEAR))
    framed = np.pad(squashed, ((3, 3), (3, 3), (0, 0)))
    possible = {framed[y : y + 24, x : x + 24].tobytes() for x in range(7) for y in range(7)}
    view, rng = TrainView(24, "pad", 0.1, 3), np.random.default_rng(0)
    seen = {view(picture, rng).tobytes() for _ in range(400)}
    assert len(possible) == 49 and seen == possible


def test_a_crop_of_the_squashed_picture_lies_anywhere_in_it():
    image = photo(3)
    squashed = np.asarray(image.resize((27, 27), Image.Resampling.BILINEAR))
    possible = {squashed[y : y + 24, x : x + 24].tobytes() for x in range(4) for y in range(4)}
    view, rng = TrainView(24, "squash", 0.1, crop_from=27), np.random.default_rng(0)
    seen = {view(DecodedPicture(image), rng).tobytes() for _ in range(200)}
    assert len(possible) == 16 and seen == possible


def test_a_policy_works_on_the_view_with_the_draws_that_follow_those_of_the_crop():
    policy, picture = RandAugment(2, 15), DecodedPicture(photo(3))
    rng, again = np.random.default_rng(7), np.random.default_rng(7)
    view = TrainView(24, "inception", 0.1, policy=policy)(picture, rng)
    cut = Image.fromarray(TrainView(24, "inception", 0.1, 4)(picture, again))
    np.testing.assert_array_equal(view, policy(cut, again))
    assert (view != np.asarray(cut)).any()


def test_a_strip_of_a_picture_takes_no_more_memory_than_its_view():
    strip = Image.new("RGB", (60_000, 1), "red")
    for preset in EVAL_PRESETS:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        view = EvalView(224, preset)(DecodedPicture(strip))
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < 500_000  # KiB; the whole strip, resized, would be 10 GiB.
        assert (view == (255, 0, 0)).all()
