"""The road that decodes a crop only gives what decoding the whole picture gives."""

import io
import itertools

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from mlp_vision.data import pictures
from mlp_vision.data.host_views import EvalView, inception_crop
from mlp_vision.data.image_codec import BadPictureError, decode_picture
from mlp_vision.data.pictures import Box, DecodedPicture, JpegPicture, open_picture
from tests.mlp_vision.data.made_photos import BAD_FILES, encoded, photo


def jpeg(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "jpeg", **options)
    return buffer.getvalue()


def large_photo(seed, width=403, height=331, mode="RGB"):
    """Soft shapes with grain, whose sides are no whole number of blocks."""
    grain = np.random.default_rng(seed).normal(0, 6, (height, width, 3))
    shapes = photo(seed).resize((width, height), Image.Resampling.BICUBIC)
    return Image.fromarray((np.asarray(shapes) + grain).clip(0, 255).astype(np.uint8)).convert(mode)


def some_boxes(height, width, count=12):
    corners = [
        Box(0, 0, height, width),
        Box(0, 0, 1, 1),
        Box(height - 1, width - 1, 1, 1),
        Box(height // 2, 0, height - height // 2, width),
    ]
    rng = np.random.default_rng(0)
    return corners + [inception_crop(rng, height, width, 0.05) for _ in range(count)]


def assert_crops_agree(content, size, mean=0.0, largest=0):
    """Both roads, within levels of 0 to 255 a pixel, on average and at most."""
    fast, reference = open_picture(content), DecodedPicture(decode_picture(content))
    assert isinstance(fast, JpegPicture)
    assert (fast.height, fast.width) == (reference.height, reference.width)
    for box in some_boxes(fast.height, fast.width):
        one, other = fast.cropped(box, size), reference.cropped(box, size)
        assert one.shape == other.shape == (size, size, 3) and one.dtype == np.uint8
        difference = np.abs(one.astype(int) - other)
        assert difference.max() <= largest and difference.mean() <= mean, box


KINDS = {
    "4:4:4": {"subsampling": 0},
    "4:2:2": {"subsampling": 1},
    "4:2:0": {"subsampling": 2},
    "progressive": {"progressive": True},
    "progressive 4:4:4": {"progressive": True, "subsampling": 0},
    "restart markers": {"restart_marker_blocks": 3},
    "coarse": {"quality": 10},
    "as RGB": {"keep_rgb": True},
    "own tables": {"optimize": True},
    "comment": {"comment": b"\xff\xd9\xff\xda"},
}


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS.keys())
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_crop_of_a_jpeg_has_the_pixels_of_the_whole_picture(mode, options):
    if mode == "L" and "keep_rgb" in options:
        pytest.skip("there is no colour to keep")
    assert_crops_agree(jpeg(large_photo(1, mode=mode), **options), 224)


@pytest.mark.parametrize("width, height", [(1, 1), (7, 3), (8, 8), (9, 17), (16, 15), (33, 400)])
def test_small_and_narrow_pictures_too(width, height):
    for seed, subsampling in itertools.product(range(3), range(3)):
        content = jpeg(large_photo(seed, width, height), subsampling=subsampling)
        assert_crops_agree(content, 32, mean=3, largest=60)  # The narrow one is shrunk.


@pytest.mark.parametrize("orientation", range(1, 9))
def test_crops_of_turned_photographs_are_those_of_the_upright_picture(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    # Turning after resizing rounds elsewhere than resizing after turning.
    assert_crops_agree(jpeg(large_photo(2), exif=exif), 224, mean=0.5, largest=2)


@pytest.mark.parametrize("size", [16, 40, 60, 100])
@pytest.mark.parametrize("subsampling, mean", [(0, 2), (1, 3), (2, 2)])
def test_a_much_larger_picture_is_decoded_small_and_looks_the_same(size, subsampling, mean):
    content = jpeg(large_photo(3), quality=95, subsampling=subsampling)
    assert_crops_agree(content, size, mean, largest=30)


def test_small_decoding_is_chosen_where_it_covers_the_result(monkeypatch):
    decoded, decode = [], pictures.simplejpeg.decode_jpeg
    monkeypatch.setattr(
        pictures.simplejpeg,
        "decode_jpeg",
        lambda *args, **options: decoded.append(decode(*args, **options)) or decoded[-1],
    )
    picture = open_picture(jpeg(large_photo(4, 400, 320)))
    for size, shape in ((224, (320, 400)), (161, (320, 400)), (160, (160, 200)), (40, (40, 50))):
        picture.cropped(Box(0, 0, 320, 400), size)
        assert decoded[-1].shape[:2] == shape
    picture.cropped(Box(0, 0, 100, 100), 100)
    assert decoded[-1].shape[:2] == (116, 400)  # A row of blocks more than the crop has.


def test_pictures_of_other_kinds_are_decoded_whole():
    contents = [
        encoded(large_photo(5, mode=mode), format)
        for mode, format in (("CMYK", "jpeg"), ("RGBA", "png"), ("P", "gif"), ("L", "png"))
    ]
    contents.append(encoded(Image.fromarray(np.full((30, 30), 40_000, np.uint16)), "png"))
    contents.append(simplejpeg.encode_jpeg(np.array(large_photo(5)), colorsubsampling="411"))
    for content in contents:
        picture = open_picture(content)
        whole = decode_picture(content)
        assert isinstance(picture, DecodedPicture)
        box = Box(1, 2, 20, 25)
        expected = DecodedPicture(whole.crop((2, 1, 27, 21))).cropped(Box(0, 0, 20, 25), 32)
        np.testing.assert_array_equal(picture.cropped(box, 32), expected)


def ycck_jpeg():
    """CMYK of an Adobe program, stored as luminance and colour differences."""
    content = bytearray(jpeg(large_photo(6, mode="CMYK")))
    adobe = content.index(b"Adobe")
    content[adobe + 11] = 2
    return bytes(content)


def test_ycck_is_left_to_the_road_that_knows_it():
    assert Image.open(io.BytesIO(ycck_jpeg())).mode == "CMYK"
    assert isinstance(open_picture(ycck_jpeg()), DecodedPicture)


def error_of(function, content):
    with pytest.raises(BadPictureError) as error:
        function(content)
    return str(error.value)


CUT_AT = [2, 3, 20, 160, 300, 620, 0.3, 0.9, -2, -1]


@pytest.mark.parametrize("where", CUT_AT)
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_is_cut_short_is_bad_for_the_same_reason(where, progressive):
    content = jpeg(large_photo(7), progressive=progressive)
    content = content[: int(where * len(content)) if isinstance(where, float) else where]
    try:
        whole = decode_picture(content)
    except BadPictureError as error:
        crop = lambda c: open_picture(c).cropped(Box(0, 0, 10, 10), 8)  # noqa: E731
        assert error_of(crop, content) == str(error)
    else:  # Nothing but its end is missing.
        got = open_picture(content).cropped(Box(0, 0, 300, 300), 224)
        expected = DecodedPicture(whole).cropped(Box(0, 0, 300, 300), 224)
        np.testing.assert_array_equal(got, expected)


def test_other_bad_files_are_bad_for_the_same_reason():
    for content in BAD_FILES.values():
        assert error_of(open_picture, content) == error_of(decode_picture, content)


def answer(function):
    """What `function` returns, or the reason why the picture is bad."""
    try:
        return function()
    except BadPictureError as error:
        return str(error)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("part", ["header", "blocks"])
def test_a_damaged_jpeg_is_read_or_refused_as_the_whole_one_is(part, progressive):
    sound, read, refused = jpeg(large_photo(8), progressive=progressive), 0, 0
    scan = sound.index(b"\xff\xda")
    for seed in range(25):
        rng, content = np.random.default_rng(seed), bytearray(sound)
        for place in rng.integers(*((2, scan) if part == "header" else (scan, len(sound))), 3):
            content[place] = rng.integers(256)
        content, box = bytes(content), Box(10, 20, 250, 260)
        crop = answer(lambda: open_picture(content).cropped(box, 224))  # noqa: B023
        expected = answer(lambda: DecodedPicture(decode_picture(content)).cropped(box, 224))  # noqa: B023
        if isinstance(expected, str):
            refused += 1
            # Damage below the crop is not met where decoding stops above it.
            assert crop == expected or (part == "blocks" and not progressive)
        else:
            read += 1
            np.testing.assert_array_equal(crop, expected)
    assert read and (refused or part == "blocks")


def test_evaluation_has_pillows_pixels():
    content = jpeg(large_photo(9, mode="L"))
    image = Image.open(io.BytesIO(content)).convert("RGB")
    expected = np.asarray(image.resize((24, 24), Image.Resampling.BILINEAR))
    view = EvalView(24, "squash")(open_picture(content))
    np.testing.assert_array_equal(view, expected)


def test_real_photographs_are_cropped_alike_by_both_roads(real_data):
    kinds = set()
    for i, path in enumerate(sorted((real_data / "photos").iterdir())):
        content = path.read_bytes()
        picture, whole = open_picture(content), DecodedPicture(decode_picture(content))
        kinds.add(type(picture))
        box = inception_crop(np.random.default_rng(i), picture.height, picture.width, 0.05)
        for size, mean in ((224, 1), (64, 1.5)):
            got, expected = picture.cropped(box, size), whole.cropped(box, size)
            assert np.abs(got.astype(int) - expected).mean() <= mean
    assert kinds == {JpegPicture, DecodedPicture}
