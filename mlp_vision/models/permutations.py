"""A fixed permutation of the pixels of every image: MLP-Mixer, section 3.4 and figure 4.

"patches" permutes the patches, and the pixels within each patch with one permutation shared by all
patches. A Mixer is invariant to it, since its stem and token mixing can be permuted alike. "pixels"
permutes all pixels.

Shapes: B batch, N pixels per side.
"""

from typing import Literal, get_args

import jax
import numpy as np

Permutation = Literal["none", "patches", "pixels"]
PERMUTATIONS = get_args(Permutation)
SEED = 0  # Fixed, so that every run uses the same permutation.


def permute(images: jax.Array, permutation: Permutation, patch_size: int) -> jax.Array:
    """Permutes the pixels of images [B, N, N, 3]; `patch_size` divides N."""
    if permutation == "none":
        return images
    sources = source_pixels(permutation, images.shape[1], patch_size)
    pixels = images.reshape(images.shape[0], -1, images.shape[-1])  # [B, N * N, 3]
    return pixels[:, sources].reshape(images.shape)


def source_pixels(permutation: Permutation, image_size: int, patch_size: int) -> np.ndarray:
    """Returns the row-major source index of each output pixel: int [N * N]."""
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
    """Returns the source patch of each output patch, and the source pixel of each pixel in it."""
    rng = np.random.default_rng(SEED)
    return rng.permutation((image_size // patch_size) ** 2), rng.permutation(patch_size**2)
