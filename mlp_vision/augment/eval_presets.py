"""Geometry of evaluation crops of N x N pixels, for host and device.

A preset resizes the image and takes a centre crop. It is defined per axis in integer arithmetic,
which works for Python integers on the host and for traced ones in an exported program.
"""

import dataclasses
import math
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class EvalPreset:
    """A resize followed by a centre crop.

    `resampling` is "bilinear" or "bicubic", both antialiased as in Pillow. `span(length, shorter,
    image_size)` returns, for an axis of `length` pixels in an image whose shorter side has
    `shorter`, the resized length and the start of the crop of `image_size` in it.
    """

    resampling: str
    span: Callable


def _squash(length, shorter, image_size):
    return image_size, 0


def _resize_crop(length, shorter, image_size):
    resized = _eight_sevenths(image_size)
    return resized, (resized - image_size) // 2


def _resmall_crop(length, shorter, image_size):
    # As in big_vision, the size is rounded to nearest and the crop offset is rounded down.
    small = _eight_sevenths(image_size)
    resized = (2 * small * length + shorter) // (2 * shorter)
    return resized, (resized - image_size) // 2


def _timm(length, shorter, image_size):
    # As in torchvision, the longer side is rounded down and the crop offset is rounded half to
    # even.
    small = math.floor(image_size / 0.875)
    resized = small * length // shorter
    half, odd = (resized - image_size) // 2, (resized - image_size) % 2
    return resized, half + odd * (half % 2)


def _eight_sevenths(image_size: int) -> int:
    return round(image_size * 8 / 7)


EVAL_PRESETS = {
    # Resizes to N x N, ignoring the aspect ratio: google-research/vision_transformer, which does
    # not antialias; this matters only when downsampling.
    "squash": EvalPreset("bilinear", _squash),
    # Resizes to 8/7 N x 8/7 N, ignoring the aspect ratio, then crops the centre (256 to 224):
    # MLP-Mixer, appendix C, for table 2.
    "resize_crop": EvalPreset("bilinear", _resize_crop),
    # Resizes the shorter side to 8/7 N, then crops the centre: MLP-Mixer, appendix C, table 3.
    "resmall_crop": EvalPreset("bilinear", _resmall_crop),
    # Resizes the shorter side to N / 0.875, bicubic, then crops the centre: timm's Mixers.
    "timm": EvalPreset("bicubic", _timm),
}
