"""Augmentation policies for training images: RandAugment and AutoAugment.

Levels are out of 10 but may exceed it. Their meaning per operation follows the code behind the
published recipes, google-research/big_vision's `pp/autoaugment.py`. Its pixel counts, for images of
224, are fractions of the image here, so that they apply to any size.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from PIL import Image

from mlp_vision.augment import image_operations as operations

Policy = Callable[[Image.Image, np.random.Generator], Image.Image]

OPERATIONS = {
    "autocontrast": operations.autocontrast,
    "equalize": operations.equalize,
    "invert": operations.invert,
    "rotate": operations.rotate,
    "posterize": operations.posterize,
    "solarize": operations.solarize,
    "color": operations.color,
    "contrast": operations.contrast,
    "brightness": operations.brightness,
    "sharpness": operations.sharpness,
    "shear_x": operations.shear_x,
    "shear_y": operations.shear_y,
    "translate_x": operations.translate_x,
    "translate_y": operations.translate_y,
    "cutout": operations.cutout,
    "solarize_add": operations.solarize_add,
}
# The sixteen operations of the published RandAugment, which draws them by index. They are listed
# separately from OPERATIONS so that a new operation does not change published recipes.
RANDAUGMENT_NAMES = (
    "autocontrast",
    "equalize",
    "invert",
    "rotate",
    "posterize",
    "solarize",
    "color",
    "contrast",
    "brightness",
    "sharpness",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "cutout",
    "solarize_add",
)

Amounts = Mapping[str, Callable[[float], Any]]  # Maps a level to an amount, by operation.


def _nothing(level: float) -> None:
    return None


def _enhancement(level: float) -> float:
    """Maps level 0 to 0.1, level 5 to 1 (no change) and level 10 to 1.9."""
    return level / 10 * 1.8 + 0.1


def _up_to(at_ten: float) -> Callable[[float], float]:
    return lambda level: level / 10 * at_ten


def _bits(level: float) -> int:
    """Maps level 10 to 4 bits, lower levels to fewer; at least one, as in TensorFlow."""
    return min(max(int(level / 10 * 4), 1), 8)


def _threshold(level: float) -> int:
    """Returns 25.6 per level, modulo 256 as in the released code: 128 at level 15, 0 at 10."""
    return int(level / 10 * 256) % 256


RANDAUGMENT_AMOUNTS: Amounts = {
    "autocontrast": _nothing,
    "equalize": _nothing,
    "invert": _nothing,
    "rotate": _up_to(30),  # Degrees.
    "posterize": _bits,
    "solarize": _threshold,
    "color": _enhancement,
    "contrast": _enhancement,
    "brightness": _enhancement,
    "sharpness": _enhancement,
    "shear_x": _up_to(0.3),
    "shear_y": _up_to(0.3),
    "translate_x": _up_to(100 / 224),
    "translate_y": _up_to(100 / 224),
    "cutout": _up_to(40 / 224),
    "solarize_add": lambda level: min(int(level / 10 * 110), 255),
}


@dataclasses.dataclass(frozen=True)
class RandAugment:
    """Applies `layers` random operations of the sixteen at one `magnitude` (arXiv:1909.13719)."""

    layers: int
    magnitude: float

    def __call__(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        """Returns the augmented image."""
        for choice in rng.integers(len(RANDAUGMENT_NAMES), size=self.layers):
            name = RANDAUGMENT_NAMES[choice]
            image = OPERATIONS[name](image, RANDAUGMENT_AMOUNTS[name](self.magnitude), rng)
        return image


# The paper's range; the released 250 pixels of 224 would shift the image out of view.
_IMAGENET_AMOUNTS: Amounts = RANDAUGMENT_AMOUNTS | {
    "translate_x": _up_to(150 / 331),
    "translate_y": _up_to(150 / 331),
}
# Higher levels are stronger changes, as in the code released with the paper.
_CIFAR10_AMOUNTS: Amounts = RANDAUGMENT_AMOUNTS | {
    "posterize": lambda level: 4 - int(level / 10 * 4),
    "solarize": lambda level: 256 - int(level / 10 * 256),
    "translate_x": _up_to(10 / 32),
    "translate_y": _up_to(10 / 32),
}

Step = tuple[str, float, int]  # Operation, probability, level.


@dataclasses.dataclass(frozen=True)
class AutoAugment:
    """Applies one of 25 pairs of operations that were found by search (arXiv:1805.09501).

    `found_on` is "imagenet", policy v0, which the released code describes as the paper's, or
    "cifar10", from the paper's appendix. Each step of a pair has its own probability.
    """

    found_on: str

    def __call__(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        """Returns the augmented image."""
        pairs, amounts = AUTOAUGMENT[self.found_on]
        for name, probability, level in pairs[rng.integers(len(pairs))]:
            if rng.random() < probability:
                image = OPERATIONS[name](image, amounts[name](level), rng)
        return image


IMAGENET_PAIRS: tuple[tuple[Step, Step], ...] = (
    (("equalize", 0.8, 1), ("shear_y", 0.8, 4)),
    (("color", 0.4, 9), ("equalize", 0.6, 3)),
    (("color", 0.4, 1), ("rotate", 0.6, 8)),
    (("solarize", 0.8, 3), ("equalize", 0.4, 7)),
    (("solarize", 0.4, 2), ("solarize", 0.6, 2)),
    (("color", 0.2, 0), ("equalize", 0.8, 8)),
    (("equalize", 0.4, 8), ("solarize_add", 0.8, 3)),
    (("shear_x", 0.2, 9), ("rotate", 0.6, 8)),
    (("color", 0.6, 1), ("equalize", 1.0, 2)),
    (("invert", 0.4, 9), ("rotate", 0.6, 0)),
    (("equalize", 1.0, 9), ("shear_y", 0.6, 3)),
    (("color", 0.4, 7), ("equalize", 0.6, 0)),
    (("posterize", 0.4, 6), ("autocontrast", 0.4, 7)),
    (("solarize", 0.6, 8), ("color", 0.6, 9)),
    (("solarize", 0.2, 4), ("rotate", 0.8, 9)),
    (("rotate", 1.0, 7), ("translate_y", 0.8, 9)),
    (("shear_x", 0.0, 0), ("solarize", 0.8, 4)),
    (("shear_y", 0.8, 0), ("color", 0.6, 4)),
    (("color", 1.0, 0), ("rotate", 0.6, 2)),
    (("equalize", 0.8, 4), ("equalize", 0.0, 8)),
    (("equalize", 1.0, 4), ("autocontrast", 0.6, 2)),
    (("shear_y", 0.4, 7), ("solarize_add", 0.6, 7)),
    (("posterize", 0.8, 2), ("solarize", 0.6, 10)),
    (("solarize", 0.6, 8), ("equalize", 0.6, 1)),
    (("color", 0.8, 6), ("rotate", 0.4, 5)),
)
CIFAR10_PAIRS: tuple[tuple[Step, Step], ...] = (
    (("invert", 0.1, 7), ("contrast", 0.2, 6)),
    (("rotate", 0.7, 2), ("translate_x", 0.3, 9)),
    (("sharpness", 0.8, 1), ("sharpness", 0.9, 3)),
    (("shear_y", 0.5, 8), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.5, 8), ("equalize", 0.9, 2)),
    (("shear_y", 0.2, 7), ("posterize", 0.3, 7)),
    (("color", 0.4, 3), ("brightness", 0.6, 7)),
    (("sharpness", 0.3, 9), ("brightness", 0.7, 9)),
    (("equalize", 0.6, 5), ("equalize", 0.5, 1)),
    (("contrast", 0.6, 7), ("sharpness", 0.6, 5)),
    (("color", 0.7, 7), ("translate_x", 0.5, 8)),
    (("equalize", 0.3, 7), ("autocontrast", 0.4, 8)),
    (("translate_y", 0.4, 3), ("sharpness", 0.2, 6)),
    (("brightness", 0.9, 6), ("color", 0.2, 8)),
    (("solarize", 0.5, 2), ("invert", 0.0, 3)),
    (("equalize", 0.2, 0), ("autocontrast", 0.6, 0)),
    (("equalize", 0.2, 8), ("equalize", 0.6, 4)),
    (("color", 0.9, 9), ("equalize", 0.6, 6)),
    (("autocontrast", 0.8, 4), ("solarize", 0.2, 8)),
    (("brightness", 0.1, 3), ("color", 0.7, 0)),
    (("solarize", 0.4, 5), ("autocontrast", 0.9, 3)),
    (("translate_y", 0.9, 9), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.9, 2), ("solarize", 0.8, 3)),
    (("equalize", 0.8, 8), ("invert", 0.1, 3)),
    (("translate_y", 0.7, 9), ("autocontrast", 0.9, 1)),
)
AUTOAUGMENT = {
    "imagenet": (IMAGENET_PAIRS, _IMAGENET_AMOUNTS),
    "cifar10": (CIFAR10_PAIRS, _CIFAR10_AMOUNTS),
}


def make_policy(name: str, layers: int, magnitude: float) -> Policy | None:
    """Creates "randaugment", "autoaugment_imagenet" or "autoaugment_cifar10"; None for "none".

    `layers` and `magnitude` apply to RandAugment.
    """
    if name == "none":
        return None
    if name == "randaugment":
        return RandAugment(layers, magnitude)
    return AutoAugment(name.removeprefix("autoaugment_"))
