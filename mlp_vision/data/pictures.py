"""Crops of encoded images at the model's size, decoding as little as possible.

Two paths give the same crop. A common JPEG is decoded by libjpeg-turbo (simplejpeg) down to the
bottom of the crop, at 1/2, 1/4 or 1/8 of its size if that is still large enough. Other images, and
JPEGs for which this fails, are decoded completely by `image_codec.decode_picture`, which also
diagnoses bad ones, and shrunk by averaging.

Shapes: H and W pixels of the upright image, N pixels per side of the result.
"""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from mlp_vision.data.image_codec import (
    END_OF_IMAGE,
    MOST_DECODED_BYTES,
    JpegHeader,
    as_array,
    decode_picture,
    orientation_of_jpeg,
    read_jpeg_header,
)

SHRINKINGS = (8, 4, 2)  # Scales at which libjpeg-turbo decodes fast.
CHANNELS = 3  # Of a crop, one byte each.
LARGEST_FACTOR = 2  # Colour at 1/4 resolution (4:1:1) would smear when decoded at a smaller scale.


def decoding_threads(number: int | None = None) -> ThreadPoolExecutor:
    """Returns threads that decode and crop images; disables OpenCV's competing threads."""
    cv2.setNumThreads(0)
    return ThreadPoolExecutor(number, "decode")


class Box(NamedTuple):
    """A region of an image, in whole pixels."""

    top: int
    left: int
    height: int
    width: int


class Picture(Protocol):
    """An upright RGB image of known size."""

    height: int
    width: int

    def cropped(self, box: Box, size: int) -> np.ndarray:
        """Returns the content of `box`, resized to uint8 [size, size, 3].

        Resizes bilinearly with half-pixel centres and without antialiasing, like
        `augmentation.crop_and_resize`, but first shrinks by the largest of 2, 4 and 8 that leaves
        at least `size` pixels per side; the box is then widened to pixels of the shrunk image.

        Raises:
            BadPictureError: as `image_codec.decode_picture`.
        """

    def decoded(self) -> Image.Image:
        """Returns the whole image; raises as `cropped` does."""


def open_picture(encoded: bytes) -> Picture:
    """Opens an encoded image.

    Raises:
        BadPictureError: as `image_codec.decode_picture`; a JPEG may raise it only when decoded.
    """
    header = read_jpeg_header(encoded)
    if header is None or not _is_usual(header, encoded):
        return DecodedPicture(decode_picture(encoded))
    orientation = orientation_of_jpeg(encoded) if header.has_metadata else 1
    return JpegPicture(encoded, header, TURNS.get(orientation, TURNS[1]))


class DecodedPicture:
    """A decoded image of any format."""

    def __init__(self, image: Image.Image):
        """Wraps an RGB image."""
        self._image = image
        self.width, self.height = image.size

    def cropped(self, box: Box, size: int) -> np.ndarray:
        """See `Picture`."""
        shrinking = _shrinking(box, size)
        top, left, bottom, right = _shrunk_corners(box, shrinking)
        corners = (
            left * shrinking,
            top * shrinking,
            min(right * shrinking, self.width),
            min(bottom * shrinking, self.height),
        )
        if shrinking == 1:
            return _resized(as_array(self._image, corners), size)
        return _resized(np.asarray(self._image.reduce(shrinking, corners)), size)

    def decoded(self) -> Image.Image:
        """See `Picture`."""
        return self._image


@dataclasses.dataclass(frozen=True)
class Turn:
    """Makes a stored image upright: flips, then transposes."""

    upside_down: bool = False
    left_to_right: bool = False
    transposed: bool = False


TURNS = {  # By EXIF orientation.
    1: Turn(),
    2: Turn(left_to_right=True),
    3: Turn(upside_down=True, left_to_right=True),
    4: Turn(upside_down=True),
    5: Turn(transposed=True),
    6: Turn(upside_down=True, transposed=True),
    7: Turn(upside_down=True, left_to_right=True, transposed=True),
    8: Turn(left_to_right=True, transposed=True),
}


class JpegPicture:
    """A common JPEG, of which only the needed part is decoded."""

    def __init__(self, encoded: bytes, header: JpegHeader, turn: Turn):
        """Takes the header and turn that `open_picture` has read."""
        self._encoded, self._header, self._turn = encoded, header, turn
        self.height, self.width = header.height, header.width
        if turn.transposed:
            self.height, self.width = self.width, self.height

    def cropped(self, box: Box, size: int) -> np.ndarray:
        """See `Picture`."""
        stored, shrinking = self._stored(box), _shrinking(box, size)
        pixels = self._decoded_down_to(stored.top + stored.height, shrinking)
        if pixels is None:
            return DecodedPicture(self.decoded()).cropped(box, size)
        top, left, bottom, right = _shrunk_corners(stored, shrinking)
        result = _resized(pixels[top:bottom, left:right], size)
        if self._turn.upside_down:
            result = result[::-1]
        if self._turn.left_to_right:
            result = result[:, ::-1]
        return result.swapaxes(0, 1) if self._turn.transposed else result

    def decoded(self) -> Image.Image:
        """See `Picture`."""
        return decode_picture(self._encoded)

    def _stored(self, box: Box) -> Box:
        """Maps a box of the upright image to the stored image."""
        top, left, height, width = box
        if self._turn.transposed:
            top, left, height, width = left, top, width, height
        if self._turn.upside_down:
            top = self._header.height - top - height
        if self._turn.left_to_right:
            left = self._header.width - left - width
        return Box(top, left, height, width)

    def _decoded_down_to(self, bottom: int, shrinking: int) -> np.ndarray | None:
        """Decodes rows up to at least `bottom`, shrunk; returns None on failure."""
        encoded, header, height = self._encoded, self._header, self._header.height
        if header.decodes_downwards:
            # The decoder stops at the height in the header, which is therefore reduced. One more
            # row of blocks is kept, since colours at block edges depend on the next block.
            height = min(height, bottom + header.rows_per_block_row)
            encoded = bytearray(encoded)
            encoded[header.height_at : header.height_at + 2] = height.to_bytes(2, "big")
        shape = -(-height // shrinking), -(-header.width // shrinking)
        try:
            pixels = simplejpeg.decode_jpeg(
                encoded,
                min_height=shape[0],
                min_width=shape[1],
                min_factor=shrinking,
                strict=False,  # Allows data after the last row.
            )
        except ValueError:
            return None
        return pixels if pixels.shape[:2] == shape else None


def _is_usual(header: JpegHeader, encoded: bytes) -> bool:
    """Whether a JPEG is a complete grey or colour image; damage inside is not detected."""
    pixels = header.height * header.width
    return (
        header.num_components in (1, 3)
        and header.largest_factor <= LARGEST_FACTOR
        and 0 < pixels <= 2 * Image.MAX_IMAGE_PIXELS
        and pixels * (CHANNELS + header.coefficient_bytes) <= MOST_DECODED_BYTES
        and encoded.rfind(END_OF_IMAGE, header.scan_at) > 0
    )


def _shrinking(box: Box, size: int) -> int:
    fits = (s for s in SHRINKINGS if min(box.height, box.width) >= s * size)
    return next(fits, 1)


def _shrunk_corners(box: Box, shrinking: int) -> tuple[int, int, int, int]:
    """Returns top, left, bottom and right of the shrunk image's pixels that cover `box`."""
    bottom, right = box.top + box.height, box.left + box.width
    return (
        box.top // shrinking,
        box.left // shrinking,
        -(-bottom // shrinking),
        -(-right // shrinking),
    )


def _resized(pixels: np.ndarray, size: int) -> np.ndarray:
    return cv2.resize(pixels, (size, size), interpolation=cv2.INTER_LINEAR)
