"""The same permutation of the pixels of every picture: MLP-Mixer, section 3.4 and figure 4.

Under "patches" the patches change places, and so do the pixels within each patch, in the same way
in all of them. A Mixer cannot tell: its stem and its token mixing may be permuted alike. Under
"pixels" all pixels change places.

Shapes: B batch, N pixels a side.
"""

from typing import Literal, get_args

import jax
import numpy as np

Permutation = Literal["none", "patches", "pixels"]
PERMUTATIONS = get_args(Permutation)
SEED = 0  # Every run draws the same one.


def permute(images: jax.Array, permutation: Permutation, patch_size: int) -> jax.Array:
    """Images [B, N, N, 3] with their pixels in other places; `patch_size` divides N."""
    if permutation == "none":
        return images
    sources = source_pixels(permutation, images.shape[1], patch_size)
    pixels = images.reshape(images.shape[0], -1, images.shape[-1])  # [B, N * N, 3]
    return pixels[:, sources].reshape(images.shape)


def source_pixels(permutation: Permutation, image_size: int, patch_size: int) -> np.ndarray:
    """Where in a picture, row by row, the pixel of each place comes from: int [N * N]."""
    places = np.arange(image_size**2)
    if permutation == "pixels":
        return np.random.default_rng(SEED).permutation(places)
    grid = image_size // patch_size
    patches, pixels = permuted_patches(image_size, patch_size)
    in_patches = places.reshape(grid, patch_size, grid, patch_size).transpose(0, 2, 1, 3)
    in_patches = in_patches.reshape(grid**2, patch_size**2)[patches][:, pixels]
    in_rows = in_patches.reshape(grid, grid, patch_size, patch_size).transpose(0, 2, 1, 3)
    return in_rows.reshape(-1)


def permuted_patches(image_size: int, patch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Which patch comes to each place, and which pixel of a patch to each place within it."""
    rng = np.random.default_rng(SEED)
    return rng.permutation((image_size // patch_size) ** 2), rng.permutation(patch_size**2)
