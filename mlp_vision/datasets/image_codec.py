"""PNG encoding for data set builders, and decoding of whatever a data set holds."""

import io

import numpy as np
from PIL import Image


def encode_png(image: np.ndarray) -> bytes:
    """A [H, W] or [H, W, 3] uint8 picture as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png")
    return buffer.getvalue()


def decode_rgb(encoded: bytes) -> np.ndarray:
    """An encoded picture of any mode as [H, W, 3] uint8."""
    return np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))
