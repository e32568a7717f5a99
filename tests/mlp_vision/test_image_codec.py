import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from mlp_vision.datasets.image_codec import (
    BadPictureError,
    decode_picture,
    decode_rgb,
    encode_png,
)


def encoded(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "RGB", "RGBA", "P", "CMYK"]
)  # Pillow before 13 fails on YCbCr in TIFF.
def test_pictures_of_any_mode_are_read_as_rgb(mode):
    picture = Image.new("RGB", (5, 4), (200, 30, 60)).convert(mode)
    decoded = decode_rgb(encoded(picture, "tiff"))
    assert decoded.shape == (4, 5, 3) and decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, np.asarray(picture.convert("RGB")))


def test_cmyk_in_a_jpeg_is_inverted_as_adobe_writes_it():
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    decoded = decode_rgb(encoded(red, "jpeg", quality=95))
    assert np.abs(decoded.astype(int) - (255, 0, 0)).max() < 10


def test_what_is_transparent_shows_white():
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[0, 0] = (10, 20, 30, 255)
    rgba[0, 1] = (0, 0, 0, 128)
    decoded = decode_rgb(encoded(Image.fromarray(rgba), "png"))
    assert decoded.tolist() == [[[10, 20, 30], [127, 127, 127]], [[255] * 3, [255] * 3]]


def test_a_transparent_colour_of_a_palette_or_of_rgb_shows_white():
    palette = Image.new("P", (2, 1))
    palette.putpalette([0, 0, 0, 9, 8, 7])
    palette.putpixel((1, 0), 1)
    plain = decode_rgb(encoded(palette, "png"))
    assert plain.tolist() == [[[0, 0, 0], [9, 8, 7]]]
    for format in ("png", "gif"):
        decoded = decode_rgb(encoded(palette, format, transparency=0))
        assert decoded.tolist() == [[[255, 255, 255], [9, 8, 7]]]
    colour = Image.new("RGB", (1, 1), (1, 2, 3))
    assert decode_rgb(encoded(colour, "png", transparency=(1, 2, 3))).tolist() == [[[255] * 3]]


def test_grey_of_16_bits_is_scaled():
    levels = np.array([[0, 257, 32768, 65535]], np.uint16)
    for format in ("png", "tiff", "ppm"):
        decoded = decode_rgb(encoded(Image.fromarray(levels), format))
        assert decoded[0, :, 0].tolist() == [0, 1, 128, 255], format
        assert (decoded == decoded[..., :1]).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_upright_as_exif_says(orientation):
    upright = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    # What a camera stores under each orientation, by the EXIF standard (row 0, column 0).
    stored = {
        1: upright,  # Top, left.
        2: upright[:, ::-1],  # Top, right.
        3: upright[::-1, ::-1],  # Bottom, right.
        4: upright[::-1],  # Bottom, left.
        5: upright.transpose(1, 0, 2),  # Left, top.
        6: np.rot90(upright, 1),  # Right, top: to be turned clockwise.
        7: upright[::-1, ::-1].transpose(1, 0, 2),  # Right, bottom.
        8: np.rot90(upright, -1),  # Left, bottom.
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(np.ascontiguousarray(stored))
    np.testing.assert_array_equal(decode_rgb(encoded(picture, "png", exif=exif)), upright)


def test_damaged_exif_does_not_matter():
    picture = Image.new("RGB", (8, 8), (50, 60, 70))
    content = encoded(picture, "jpeg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xffnonsense")
    assert decode_picture(content).size == (8, 8)


def test_of_an_animation_the_first_frame_counts():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    content = encoded(frames[0], "gif", save_all=True, append_images=frames[1:])
    assert (decode_rgb(content) == (255, 0, 0)).all()


def huge_png():
    """A PNG whose header promises 40,000 x 40,000 pixels."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(
            ">I", zlib.crc32(kind + content)
        )  # fmt: skip

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100))


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8))
BAD = {
    "nothing": (b"", "an empty file"),
    "web page": (b"\n<!DOCTYPE html><html>404</html>", "a web page"),
    "heic": (b"\0\0\0\x24ftypheic\0\0\0\0mif1", "a HEIC picture"),
    "git lfs": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
    "text": (b"not a picture at all", "no picture of a known format"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no picture of a known"),
    "half a jpeg": (encoded(NOISE, "jpeg")[:900], "cut short"),
    "start of a jpeg": (b"\xff\xd8\xff\xe0", "damaged|cut short"),
    "half a png": (encoded(NOISE, "png")[:900], "cut short"),
    "half a gif": (encoded(NOISE, "gif")[:900], "cut short"),
    "start of a png": (encoded(NOISE, "png")[:10], "damaged or cut short"),
    "half a webp": (encoded(NOISE, "webp", lossless=True)[:900], "damaged|cut short"),
    "bomb": (huge_png(), "more than 179 million pixels"),
    "floats": (encoded(Image.fromarray(np.ones((2, 2), np.float32)), "tiff"), "32 bits a pixel"),
}


@pytest.mark.parametrize("content, reason", BAD.values(), ids=BAD.keys())
def test_what_is_no_picture_is_told_in_a_few_words(content, reason):
    with pytest.raises(BadPictureError, match=reason) as error:
        decode_rgb(content)
    assert len(str(error.value)) < 80 and "BytesIO" not in str(error.value)


def test_png_keeps_every_pixel():
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    np.testing.assert_array_equal(decode_rgb(encode_png(image)), image)


def test_real_photographs_of_all_kinds_are_read(real_data):
    modes = set()
    for path in sorted((real_data / "photos").iterdir())[::3] + [
        path for path in (real_data / "photos").iterdir() if path.read_bytes()[:2] != b"\xff\xd8"
    ]:
        with Image.open(path) as image:
            modes.add(image.mode)
            size = image.size
        picture = decode_picture(path.read_bytes())
        assert picture.mode == "RGB" and sorted(picture.size) == sorted(size)
    assert {"RGB", "P", "RGBA"} <= modes
