"""Pictures to bytes for data set builders, and bytes of any kind to RGB pictures."""

import io
import warnings

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

# What may be behind the name of a picture, whatever its suffix. Others stay out: Pillow would
# hand PostScript, say, to another program.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF")
# How to undo the turn that EXIF says a camera was held at.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
NO_PICTURES = {
    b"<!doctype html": "a web page, not a picture",
    b"<html": "a web page, not a picture",
    b"<head": "a web page, not a picture",
    b"<!--": "a web page, not a picture",
    b"<?xml": "a text in XML, not a picture",
    b"<svg": "a drawing in SVG, which cannot be read",
    b"{": "a text in JSON, not a picture",
    b"version https://git-lfs": "a placeholder of Git LFS, not the picture itself",
}
MOST_PICTURE_BYTES = 1 << 30  # Of a file.
START_OF_JPEG = b"\xff\xd8"
STARTS_OF_PICTURES = (START_OF_JPEG, b"\x89PNG", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*")

# Pillow's warnings name no picture, and what they warn of is either harmless or an error later.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.TiffImagePlugin")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class BadPictureError(ValueError):
    """Bytes that are no picture that can be read; the text is the reason, in a few words."""


def encode_png(image: np.ndarray) -> bytes:
    """A [H, W] or [H, W, 3] uint8 picture as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png")
    return buffer.getvalue()


def as_jpeg(encoded: bytes) -> bytes:
    """The same bytes where they are a JPEG, else the picture as a JPEG of quality 95.

    Raises:
        BadPictureError: as `decode_picture`.
    """
    picture = decode_picture(encoded)
    if encoded.startswith(START_OF_JPEG):
        return encoded
    buffer = io.BytesIO()
    picture.save(buffer, "jpeg", quality=95)
    return buffer.getvalue()


def decode_rgb(encoded: bytes) -> np.ndarray:
    """An encoded picture of any mode as [H, W, 3] uint8; see `decode_picture`."""
    return np.asarray(decode_picture(encoded))


def decode_picture(encoded: bytes) -> Image.Image:
    """An encoded picture of any mode as people see it: RGB, upright.

    Turned as its EXIF orientation says. What is transparent shows a white background, as in a
    browser; TensorFlow and torchvision would show the colours hidden there instead, often black.
    Grey of 16 bits is scaled to 8, not clipped. CMYK is inverted where a JPEG follows Adobe. Of an
    animation the first frame counts. Apart from transparency and EXIF the result is that of
    Pillow's `convert("RGB")`.

    Raises:
        BadPictureError: the bytes are no whole picture of a known format, or one of too many
          pixels (179 million, Pillow's limit).
    """
    try:
        image = Image.open(io.BytesIO(encoded), formats=FORMATS)
        image.load()
        return _to_rgb(_upright(image))
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything.
        raise BadPictureError(_what_is_wrong(encoded, error)) from error


def orientation_of_jpeg(encoded: bytes) -> int | None:
    """How a JPEG is turned, by EXIF's numbers, without decoding it; None where nothing is said."""
    try:
        return _orientation(Image.open(io.BytesIO(encoded), formats=("JPEG",)))
    except Exception:  # To be told by whoever decodes it.
        return None


def _upright(image: Image.Image) -> Image.Image:
    orientation = _orientation(image)
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


def _orientation(image: Image.Image) -> int | None:
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # Damaged EXIF data do not make a damaged picture.
        return None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith(("I", "F")):
        return _from_deep_grey(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        background = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(background, image).convert("RGB")
    return image.convert("RGB")


def _from_deep_grey(image: Image.Image) -> Image.Image:
    """Grey of 16 bits, which Pillow would clip at 255."""
    levels = np.asarray(image)
    if image.mode == "F" or levels.min() < 0 or levels.max() > 65535:
        raise BadPictureError("32 bits a pixel, of which only 8 and 16 are read")
    eight_bits = np.round(levels / 257).astype(np.uint8)
    return Image.fromarray(eight_bits).convert("RGB")


def _what_is_wrong(encoded: bytes, error: Exception) -> str:
    if isinstance(error, BadPictureError):
        return str(error)
    if not encoded:
        return "an empty file"
    if isinstance(error, Image.DecompressionBombError):
        return f"more than {2 * Image.MAX_IMAGE_PIXELS / 1e6:.0f} million pixels"
    start = encoded[:1000].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for beginning, reason in NO_PICTURES.items():
        if start.startswith(beginning):
            return reason
    if encoded[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1"):
        return "a HEIC picture, which is not read; turn it into JPEG"
    if "truncated" in str(error).lower():
        return "cut short"
    if not isinstance(error, UnidentifiedImageError):
        return f"damaged: {str(error) or type(error).__name__}"
    if encoded.startswith(STARTS_OF_PICTURES):
        return "damaged or cut short"
    return "no picture of a known format"
