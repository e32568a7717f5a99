"""Data sets whose pixels are 0 and 1 where others have 0 and 255."""

import numpy as np

from mlp_vision.data.image_codec import decode_rgb, encode_png

BUILDERS = ("dsprites",)  # Of TFDS.


def in_full_brightness(builder: str, encoded: bytes) -> bytes:
    """A picture that `builder` has stored, encoded anew where its white is 1.

    Raises:
        BadPictureError: as `image_codec.decode_rgb`.
    """
    if builder not in BUILDERS:
        return encoded
    return encode_png((decode_rgb(encoded)[..., 0] > 0).astype(np.uint8) * 255)
