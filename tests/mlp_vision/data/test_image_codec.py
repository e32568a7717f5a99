import io
import json
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from mlp_vision.data import image_codec
from mlp_vision.data.image_codec import (
    BadPictureError,
    decode_picture,
    decode_rgb,
    encode_png,
)
from mlp_vision.data.pictures import open_picture
from tests.conftest import ROOT


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


def large(mode="RGBA", side=1600):
    """A picture of soft colours, in any mode."""
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (side // 20, side // 20, 4), np.uint8))
    image = small.resize((side, side), Image.Resampling.NEAREST)
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    return image if mode == "RGBA" else image.convert("RGB").convert(mode)


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


KINDS = {
    "png, rgba": ("RGBA", "png", {}),
    "png, rgba, turned": ("RGBA", "png", {"exif": turned()}),
    "png, palette": ("P", "png", {"transparency": 3}),
    "png, 16 bits": ("I;16", "png", {}),
    "jpeg": ("RGB", "jpeg", {}),
    "jpeg, turned": ("RGB", "jpeg", {"exif": turned()}),
    "jpeg, progressive": ("RGB", "jpeg", {"progressive": True, "subsampling": 0}),
    "jpeg, cmyk": ("CMYK", "jpeg", {"progressive": True}),
    "gif": ("P", "gif", {"transparency": 3}),
    "webp": ("RGBA", "webp", {"lossless": True, "method": 0}),
    "avif": ("RGBA", "avif", {"speed": 10, "subsampling": "4:4:4"}),
    "jpeg2000": ("RGBA", "jpeg2000", {}),
    "tiff": ("RGBA", "tiff", {"compression": "tiff_lzw"}),
    "tiff, one strip": ("RGBA", "tiff", {"compression": "tiff_lzw", "strip_size": 1 << 40}),
    "bmp": ("RGB", "bmp", {}),
    "ppm": ("RGB", "ppm", {}),
}
PEAKS = """
import io, json, sys
from pathlib import Path
from PIL import Image
from mlp_vision.data.image_codec import decode_rgb, decoding_bytes

def status(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(key))

peaks = {}
for file in map(Path, sys.argv[1:]):
    content = file.read_bytes()
    decode_rgb(file.with_suffix(".small").read_bytes())  # What is loaded once.
    Path("/proc/self/clear_refs").write_text("5")  # Starts to measure the peak.
    before = status("VmRSS:")
    decode_rgb(content)
    peak = status("VmHWM:") - before
    peaks[file.stem] = peak, decoding_bytes(Image.open(io.BytesIO(content)), content)
print(json.dumps(peaks))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_decoding_takes_no_more_memory_than_the_header_foretells(tmp_path):
    for kind, (mode, format, options) in KINDS.items():
        (tmp_path / f"{kind}.large").write_bytes(encoded(large(mode), format, **options))
        (tmp_path / f"{kind}.small").write_bytes(encoded(large(mode, 40), format, **options))
    run = subprocess.run(
        [sys.executable, "-c", PEAKS, *tmp_path.glob("*.large")],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    peaks = json.loads(run.stdout)
    assert peaks.keys() == KINDS.keys()
    for kind, (peak, foretold) in peaks.items():
        assert peak < foretold + (6 << 20), kind
    assert max(peak / foretold for peak, foretold in peaks.values()) > 0.5  # It is measured.


@pytest.mark.parametrize("block", [60, 700])  # Narrower than the picture, and some rows.
def test_the_pixels_do_not_depend_on_the_blocks(monkeypatch, block):
    kinds = [kind for kind in KINDS if kind.startswith(("png", "gif"))]
    contents = [encoded(large(mode, 100), f, **o) for mode, f, o in map(KINDS.get, kinds)]
    whole = [decode_rgb(content) for content in contents]
    monkeypatch.setattr(image_codec, "BLOCK_PIXELS", block)
    for kind, content, expected in zip(kinds, contents, whole, strict=True):
        np.testing.assert_array_equal(decode_rgb(content), expected, err_msg=kind)


def png_header(width, height, colour_type=6):
    """A PNG that ends behind its header."""
    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    crc = struct.pack(">I", zlib.crc32(b"IHDR" + header))
    data = struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header + crc + data


def tiff_of_one_tile(side, tile):
    """A small TIFF in RGB whose only tile is far larger, compressed with nothing in it."""
    tags = [(256, 4, side), (257, 4, side), (258, 3, 8), (259, 3, 5), (262, 3, 2), (277, 3, 3),
            (322, 4, tile), (323, 4, tile), (324, 4, 8), (325, 4, 4)]  # fmt: skip
    entries = b"".join(
        struct.pack("<HHI", tag, kind, 1) + struct.pack("<I", value) for tag, kind, value in tags
    )
    entries = entries.replace(
        struct.pack("<HHII", 258, 3, 1, 8), struct.pack("<HHII", 258, 3, 3, 200)
    )
    content = b"II*\0" + struct.pack("<I", 12) + b"\0" * 4 + struct.pack("<H", len(tags)) + entries
    return content.ljust(200, b"\0") + struct.pack("<HHH", 8, 8, 8)


def of_size(content, width, height, at):
    """A picture whose header is made to promise another size, as big-endian shorts."""
    return content[:at] + struct.pack(">HH", height, width) + content[at + 4 :]


def progressive_jpeg():
    content = encoded(large("RGB", 40), "jpeg", progressive=True)
    return of_size(content, 13_000, 13_000, content.index(b"\xff\xc2") + 5)


TOO_LARGE = {
    "png": png_header(13_300, 13_300),
    "png of a column": png_header(1, 100_000_000),
    "png of a row": png_header(100_000_000, 1),
    "progressive jpeg": progressive_jpeg(),
    "tiff of one tile": tiff_of_one_tile(64, 30_000),
}


@pytest.mark.parametrize("content", TOO_LARGE.values(), ids=TOO_LARGE.keys())
def test_a_picture_that_takes_too_much_memory_is_refused_by_its_header(content, monkeypatch):
    def fails(*args, **kwargs):
        raise AssertionError("decodes")

    monkeypatch.setattr(ImageFile.ImageFile, "load", fails)
    with pytest.raises(BadPictureError, match=r"too large: decoding takes .* GiB, and the limit"):
        open_picture(content)
