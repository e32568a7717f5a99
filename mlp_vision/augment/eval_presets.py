"""How evaluation cuts a picture to N x N pixels: the geometry, for host and device alike.

A preset resizes the picture and takes the middle of the result. It is given per axis, so that it
is plain integer arithmetic: Python's numbers on the host, traced ones in an exported program.
"""

import dataclasses
import math
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class EvalPreset:
    """Resize, then crop.

    `resampling` is "bilinear" or "bicubic", both antialiased as in Pillow. `span(length, shorter,
    image_size)` says of an axis of `length` pixels, in a picture whose shorter side has `shorter`,
    to how many pixels it is resized, and at which of these the crop of `image_size` begins.
    """

    resampling: str
    span: Callable


def _squash(length, shorter, image_size):
    return image_size, 0


def _resize_crop(length, shorter, image_size):
    resized = _eight_sevenths(image_size)
    return resized, (resized - image_size) // 2


def _resmall_crop(length, shorter, image_size):
    # Rounded to the nearest, as big_vision does; the crop's place is rounded down.
    small = _eight_sevenths(image_size)
    resized = (2 * small * length + shorter) // (2 * shorter)
    return resized, (resized - image_size) // 2


def _timm(length, shorter, image_size):
    # As torchvision: the longer side is cut to whole pixels, a half in the crop's place goes to
    # the even neighbour.
    small = math.floor(image_size / 0.875)
    resized = small * length // shorter
    half, odd = (resized - image_size) // 2, (resized - image_size) % 2
    return resized, half + odd * (half % 2)


def _eight_sevenths(image_size: int) -> int:
    return round(image_size * 8 / 7)


EVAL_PRESETS = {
    # To N x N whatever the aspect ratio: google-research/vision_transformer, which does not
    # antialias; the difference is seen only when shrinking.
    "squash": EvalPreset("bilinear", _squash),
    # To 8/7 N x 8/7 N whatever the aspect ratio, then the centre (256 to 224): MLP-Mixer,
    # appendix C, for table 2.
    "resize_crop": EvalPreset("bilinear", _resize_crop),
    # The shorter side to 8/7 N, then the centre: MLP-Mixer, appendix C, for table 3.
    "resmall_crop": EvalPreset("bilinear", _resmall_crop),
    # The shorter side to N / 0.875 with bicubic weights, then the centre: timm, for its Mixers.
    "timm": EvalPreset("bicubic", _timm),
}
