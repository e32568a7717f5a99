"""Views of N x N pixels of images of any size, on the host: training crops, eval presets.

Flips and the value range are left to the device. `ArrayViews` is a source of such views of images
in memory.
"""

import dataclasses
from typing import Protocol

import numpy as np
from PIL import Image

from mlp_core.data.sources import ArraySource
from mlp_vision.augment.augmentation import ASPECT_RATIOS, CROP_ATTEMPTS
from mlp_vision.augment.eval_presets import EVAL_PRESETS
from mlp_vision.augment.policies import Policy
from mlp_vision.data.pictures import Box, DecodedPicture, Picture

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


class View(Protocol):
    """Maps an image to uint8 [N, N, 3]; all randomness comes from `rng`."""

    image_size: int

    def __call__(self, picture: Picture, rng: np.random.Generator | None) -> np.ndarray:
        """Returns the view of `picture`; `rng` is None in evaluation.

        Raises:
            BadPictureError: the image cannot be decoded.
        """


@dataclasses.dataclass(frozen=True)
class TrainView:
    """The view for training: a random crop, then `policy`.

    Crops are "inception" of at least `crop_min_area`; "pad", the whole image squashed and shifted
    by up to `crop_padding` pixels, black outside; "squash", N x N of the whole image squashed to
    `crop_from` pixels per side; or "none", squashed.
    """

    image_size: int
    crop: str
    crop_min_area: float
    crop_padding: int = 4
    crop_from: int | None = None
    policy: Policy | None = None

    def __call__(self, picture: Picture, rng: np.random.Generator) -> np.ndarray:
        """Returns a random view of `picture`."""
        view = self._cut(picture, rng)
        if self.policy is None:
            return view
        return np.asarray(self.policy(Image.fromarray(view), rng))

    def _cut(self, picture: Picture, rng: np.random.Generator) -> np.ndarray:
        if self.crop == "inception":
            box = inception_crop(rng, picture.height, picture.width, self.crop_min_area)
            return picture.cropped(box, self.image_size)
        if self.crop == "squash":
            return self._cut_out(EvalView(self.crop_from, "squash")(picture), rng)
        squashed = EvalView(self.image_size, "squash")(picture)
        return self._cut_out(self._framed(squashed), rng) if self.crop == "pad" else squashed

    def _framed(self, view: np.ndarray) -> np.ndarray:
        """Pads the view with black pixels."""
        padding, size = self.crop_padding, self.image_size
        framed = np.zeros((size + 2 * padding, size + 2 * padding, 3), np.uint8)  # np.pad is slow.
        framed[padding:-padding, padding:-padding] = view
        return framed

    def _cut_out(self, view: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Takes a random N x N crop of a larger view."""
        size = self.image_size
        top, left = rng.integers(0, len(view) - size + 1, 2)
        return view[top : top + size, left : left + size]


@dataclasses.dataclass(frozen=True)
class EvalView:
    """The view of a preset in `mlp_vision.augment.eval_presets`, resized by Pillow."""

    image_size: int
    preset: str

    def __call__(self, picture: Picture, rng: None = None) -> np.ndarray:
        """Returns the view; `rng` is ignored."""
        image, preset, size = picture.decoded(), EVAL_PRESETS[self.preset], self.image_size
        shorter = min(image.size)
        width, left = preset.span(image.width, shorter, size)
        height, top = preset.span(image.height, shorter, size)
        across, down = image.width / width, image.height / height
        right = min((left + size) * across, image.width)  # Rounding may exceed the image.
        bottom = min((top + size) * down, image.height)
        box = (left * across, top * down, right, bottom)
        return np.asarray(image.resize((size, size), FILTERS[preset.resampling], box=box))


def inception_crop(rng: np.random.Generator, height: int, width: int, min_area: float) -> Box:
    """Samples a crop box.

    Samples like `augmentation.inception_crops`, for one image.
    """
    for _ in range(CROP_ATTEMPTS):
        aspect = rng.uniform(*ASPECT_RATIOS)
        highest = round((height * width / aspect) ** 0.5)
        highest = min(highest, int((width + 0.499) / aspect), height)
        lowest = min(round((min_area * height * width / aspect) ** 0.5), highest)
        crop_height = int(rng.integers(lowest, highest + 1))
        crop_width = round(crop_height * aspect)
        large_enough = crop_height * crop_width >= min_area * height * width
        if large_enough and crop_height >= 1 and 1 <= crop_width <= width:
            break
    else:
        crop_height, crop_width = height, width
    top = int(rng.integers(height - crop_height + 1))
    left = int(rng.integers(width - crop_width + 1))
    return Box(top, left, crop_height, crop_width)


class ArrayViews:
    """Views, uint8 [B, N, N, 3], of images [B, H, W, 3], as a `SourceForWorkers`.

    The randomness of a view depends only on (seed, draw). It uses no threads: on such small images
    they wait for Python's lock, and two are slower than one.
    """

    def __init__(self, pictures: ArraySource, view: View, seed: int):
        """Wraps `pictures`, viewed through `view`."""
        self._pictures = pictures
        self._view = view
        self._seed = seed

    def __len__(self) -> int:
        """Number of examples."""
        return len(self._pictures)

    def gather(self, indices: np.ndarray, draws: np.ndarray) -> dict[str, np.ndarray]:
        """Returns views of the examples at `indices` [B], with randomness from `draws` [B]."""
        batch = self._pictures.gather(indices)
        size = self._view.image_size
        views = np.empty((len(indices), size, size, 3), np.uint8)
        for row, (picture, draw) in enumerate(zip(batch["image"], draws.tolist(), strict=True)):
            rng = np.random.default_rng((self._seed, draw))
            views[row] = self._view(DecodedPicture(Image.fromarray(picture)), rng)
        return batch | {"image": views}

    def digest(self) -> str:
        """See `Source`: the digest of the images, regardless of the views."""
        return self._pictures.digest()

    def findings(self) -> tuple[()]:
        """Returns nothing, since images in memory can always be read."""
        return ()

    def take_note(self, findings: tuple[()]) -> None:
        """Does nothing; see `findings`."""
