"""Encoding for data set builders, and decoding of whatever a data set holds."""

import io

import numpy as np
from PIL import Image


def encode_png(image: np.ndarray) -> bytes:
    """A [H, W] or [H, W, 3] uint8 picture as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png")
    return buffer.getvalue()


def as_jpeg(encoded: bytes) -> bytes:
    """The same bytes where they are a JPEG, else the picture as a JPEG of quality 95.

    Of an animation the first frame, of a picture with transparency the colours are taken.

    Raises:
        OSError: the picture cannot be decoded.
    """
    image = Image.open(io.BytesIO(encoded))
    image.load()  # A file cut short fails here, not when it is opened.
    if image.format == "JPEG":
        return encoded
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "jpeg", quality=95)
    return buffer.getvalue()


def decode_rgb(encoded: bytes) -> np.ndarray:
    """An encoded picture of any mode as [H, W, 3] uint8."""
    return np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))
