import numpy as np
import pytest
from PIL import ImageEnhance, ImageOps

from mlp_vision.augment import image_operations as operations
from mlp_vision.augment.image_operations import GREY
from tests.mlp_vision.data.made_photos import photo

SIZE = (40, 24)  # Width, height.


class Coin:
    """In place of a generator: draws what it is told, for directions and places."""

    def __init__(self, side=0.0, places=()):
        self.side, self.places = side, list(places)

    def random(self):
        return self.side

    def integers(self, limit):
        return self.places.pop(0)


HEADS, TAILS = Coin(0.0), Coin(0.9)


@pytest.fixture
def image():
    return photo(1).resize(SIZE)


def levels(image):
    return np.asarray(image).astype(int)


def assert_same(ours, theirs):
    np.testing.assert_array_equal(levels(ours), levels(theirs))


@pytest.mark.parametrize("bits", range(1, 9))
def test_posterize_is_pillows(image, bits):
    assert_same(operations.posterize(image, bits, HEADS), ImageOps.posterize(image, bits))


@pytest.mark.parametrize("threshold", [0, 1, 128, 255, 256])
def test_solarize_is_pillows(image, threshold):
    assert_same(operations.solarize(image, threshold, HEADS), ImageOps.solarize(image, threshold))


@pytest.mark.parametrize("name", ["invert", "autocontrast", "equalize"])
def test_what_takes_no_amount_is_pillows(image, name):
    image = ImageEnhance.Contrast(image).enhance(0.4)  # So that there is something to stretch.
    ours = getattr(operations, name)(image, None, HEADS)
    assert_same(ours, getattr(ImageOps, name)(image))
    assert np.abs(levels(ours) - levels(image)).max() > 20


@pytest.mark.parametrize("addition", [0, 55, 165, 255])
def test_solarize_add_lifts_dark_levels(image, addition):
    before = levels(image)
    expected = np.where(before < 128, np.minimum(before + addition, 255), before)
    np.testing.assert_array_equal(levels(operations.solarize_add(image, addition, HEADS)), expected)


def grey(image):
    weights = np.array([299, 587, 114]) / 1000  # ITU-R 601-2, as Pillow's convert("L").
    return (levels(image) @ weights)[:, :, None]


def smooth(image):
    before = levels(image)
    result = before.astype(float)
    total = sum(
        before[1 + y : before.shape[0] - 1 + y, 1 + x : before.shape[1] - 1 + x]
        for y in (-1, 0, 1)
        for x in (-1, 0, 1)
    )
    result[1:-1, 1:-1] = (total + 4 * before[1:-1, 1:-1]) / 13
    return result


@pytest.mark.parametrize("factor", [0.1, 1.0, 1.9, 2.8])
@pytest.mark.parametrize(
    "name, origin",
    [
        ("color", grey),
        ("contrast", lambda image: grey(image).mean()),
        ("brightness", lambda image: 0),
        ("sharpness", smooth),
    ],
)
def test_enhancements_go_along_a_line_from_what_lacks_the_quality(image, name, origin, factor):
    ours = levels(getattr(operations, name)(image, factor, HEADS))
    expected = (origin(image) + factor * (levels(image) - origin(image))).clip(0, 255)
    assert np.abs(ours - expected).max() <= 3  # Pillow rounds at every stage.
    if factor == 1:
        np.testing.assert_array_equal(ours, levels(image))
    else:
        assert np.abs(ours - levels(image)).max() > 5


def nearest(image, source_of):
    """Each pixel from where its centre came from; grey outside."""
    before, (height, width) = levels(image), levels(image).shape[:2]
    result = np.empty_like(before)
    for y in range(height):
        for x in range(width):
            column, row = (int(np.floor(place)) for place in source_of(x + 0.5, y + 0.5))
            inside = 0 <= column < width and 0 <= row < height
            result[y, x] = before[row, column] if inside else GREY
    return result


GEOMETRY = {  # Amount, and the place that a place (x, y) is taken from.
    "shear_x": (0.3, lambda x, y, amount: (x + amount * y, y)),
    "shear_y": (0.45, lambda x, y, amount: (x, y + amount * x)),
    "translate_x": (0.33, lambda x, y, amount: (x + 40 * amount, y)),
    "translate_y": (0.29, lambda x, y, amount: (x, y + 24 * amount)),
}


@pytest.mark.parametrize("name", GEOMETRY)
def test_moves_take_the_nearest_pixel_and_fill_with_grey(image, name):
    amount, source_of = GEOMETRY[name]
    for coin, signed in ((HEADS, amount), (TAILS, -amount)):
        ours = levels(getattr(operations, name)(image, amount, coin))
        expected = nearest(image, lambda x, y, a=signed: source_of(x, y, a))
        assert (ours == expected).all(-1).mean() > 0.99  # Halves may go either way.
        assert (ours == GREY).all(-1).any()


@pytest.mark.parametrize("degrees", [30.0, 45.0])
def test_rotation_is_around_the_centre(image, degrees):
    for coin, signed in ((HEADS, degrees), (TAILS, -degrees)):
        turn = np.exp(1j * np.deg2rad(signed))

        def source_of(x, y, turn=turn):
            place = (x - 20 + 1j * (y - 12)) * turn + 20 + 12j
            return place.real, place.imag

        ours = levels(operations.rotate(image, degrees, coin))
        assert (ours == nearest(image, source_of)).all(-1).mean() > 0.98
        assert tuple(ours[0, 0]) == GREY
        # Pillow counts degrees anticlockwise.
        assert_same(ours, image.rotate(signed, fillcolor=GREY))


@pytest.mark.parametrize("name", ["rotate", *GEOMETRY])
def test_nothing_moves_by_an_amount_of_zero(image, name):
    assert_same(getattr(operations, name)(image, 0.0, HEADS), image)


@pytest.mark.parametrize(
    "place, box",
    [((20, 12), np.s_[8:16, 16:24]), ((0, 0), np.s_[0:4, 0:4]), ((39, 23), np.s_[19:, 35:])],
)
def test_cutout_covers_a_square_as_far_as_the_picture_goes(image, place, box):
    expected = levels(image)
    expected[box] = GREY
    assert_same(operations.cutout(image, 0.1, Coin(places=place)), expected)
    assert_same(operations.cutout(image, 0.0, Coin(places=place)), image)


def test_directions_and_places_are_drawn_evenly(image):
    rng = np.random.default_rng(0)
    right = sum(
        (levels(operations.translate_x(image, 0.2, rng))[:, 0] != GREY).any() for _ in range(400)
    )
    assert 150 < right < 250
    covered = sum((levels(operations.cutout(image, 0.2, rng)) == GREY).all(-1) for _ in range(400))
    assert covered.min() > 20 and covered[12, 20] > covered[0, 0]


@pytest.mark.parametrize("name", ["rotate", "translate_y", "cutout", "posterize", "color"])
def test_a_picture_is_left_as_it_was_and_keeps_size_and_mode(image, name):
    before = image.copy()
    amount = 4 if name == "posterize" else 0.3
    after = getattr(operations, name)(image, amount, np.random.default_rng(0))
    assert_same(image, before)
    assert after.size == SIZE and after.mode == "RGB"
