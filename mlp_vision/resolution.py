"""A Mixer's parameters for images of another size.

Only the token-mixing MLPs know the number of tokens. Shapes: g tokens a side before, K the factor
by which a side grows, S = g * g tokens and D_S hidden units of the token MLP before.
"""

import re
from collections.abc import Callable, Mapping

import numpy as np

from mlp_vision.model_spec import ModelSpec

Arrays = Mapping[str, np.ndarray]
TOKEN_MIXING = re.compile(r"(MixerBlock_\d+/token_mixing)/Dense_0/kernel")


def fits(start: ModelSpec, wanted: ModelSpec) -> bool:
    """Whether parameters of `start` can be made into those of `wanted` by a change of resolution.

    Either the token MLPs grow with the number of tokens, or they keep their width.
    """
    widths = {start.tokens_mlp_dim, start.at_image_size(wanted.image_size).tokens_mlp_dim}
    return (
        start.sizes | {"tokens_mlp_dim": wanted.tokens_mlp_dim} == wanted.sizes
        and wanted.tokens_mlp_dim in widths
    )


def announcement(start: ModelSpec, wanted: ModelSpec) -> str:
    """What `change_resolution` does, in a line; empty where there is nothing to do."""
    if start.image_size == wanted.image_size:
        return ""
    sizes = f"Resolution: {start.image_size} to {wanted.image_size} pixels"
    if start.tokens_mlp_dim == wanted.tokens_mlp_dim:
        return (
            f"{sizes}: token-mixing weights resampled as images of {start.grid} x {start.grid} "
            f"tokens to {wanted.grid} x {wanted.grid}; an extension of ours, not in the paper."
        )
    factor = wanted.grid // start.grid
    return (
        f"{sizes} by the paper's construction: token MLPs act on each of {factor} x {factor} "
        f"tiles alone at first, {start.tokens_mlp_dim:,} to {wanted.tokens_mlp_dim:,} hidden units."
    )


def change_resolution(arrays: Arrays, start: ModelSpec, wanted: ModelSpec) -> dict[str, np.ndarray]:
    """Parameters of `start` by name as those of `wanted`, which must fit.

    Where the token MLPs grow, the construction of MLP-Mixer, section 3 and appendix C; else
    `resample_token_mlp`.
    """
    if start.image_size == wanted.image_size:
        return dict(arrays)
    if start.tokens_mlp_dim == wanted.tokens_mlp_dim:
        change: Callable = resample_token_mlp
    else:
        change = tile_token_mlp
    changed = dict(arrays)
    for name in arrays:
        if match := TOKEN_MIXING.fullmatch(name):
            names = [f"{match[1]}/Dense_{i}/{leaf}" for i in (0, 1) for leaf in ("kernel", "bias")]
            new = change(*(arrays[name] for name in names), start.grid, wanted.grid)
            changed |= dict(zip(names, new, strict=True))
    return changed


def tile_token_mlp(
    kernel_0: np.ndarray,
    bias_0: np.ndarray,
    kernel_1: np.ndarray,
    bias_1: np.ndarray,
    grid: int,
    new_grid: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A token MLP [S, D_S], [D_S], [D_S, S], [S] on each of K x K tiles of a larger image.

    Returns [K^2 S, K^2 D_S], [K^2 D_S], [K^2 D_S, K^2 S], [K^2 S], block-diagonal. The paper's text
    takes the sequence as one tile after the other, but the tokens lie row by row over the whole
    image; so the token axes are permuted.
    """
    factor = new_grid // grid
    tiles, (tokens, hidden) = factor**2, kernel_0.shape
    place = token_places(grid, factor)  # [K^2, S]
    new_kernel_0 = np.zeros((tiles * tokens, tiles * hidden), kernel_0.dtype)
    new_kernel_1 = np.zeros((tiles * hidden, tiles * tokens), kernel_1.dtype)
    new_bias_1 = np.zeros(tiles * tokens, bias_1.dtype)
    for tile in range(tiles):
        units = slice(tile * hidden, (tile + 1) * hidden)
        new_kernel_0[place[tile], units] = kernel_0
        new_kernel_1[units, place[tile]] = kernel_1
        new_bias_1[place[tile]] = bias_1
    return new_kernel_0, np.tile(bias_0, tiles), new_kernel_1, new_bias_1


def token_places(grid: int, factor: int) -> np.ndarray:
    """Row-major place in the larger image of each token of each tile, int [K^2, S]."""
    side = grid * factor
    places = np.arange(side**2).reshape(factor, grid, factor, grid)  # Tile row, row, column.
    return places.swapaxes(1, 2).reshape(factor**2, grid**2)


def resample_token_mlp(
    kernel_0: np.ndarray,
    bias_0: np.ndarray,
    kernel_1: np.ndarray,
    bias_1: np.ndarray,
    grid: int,
    new_grid: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A token MLP [S, D_S], [D_S], [D_S, S], [S] for another number of tokens; D_S stays.

    Each hidden unit's weights over the tokens, in and out, are taken as a picture and resampled
    bilinearly. What comes in is scaled by the ratio of the numbers of tokens, so that a hidden
    unit's sum over a constant input stays. An extension of ours: the paper changes resolution by
    whole factors only.
    """
    weights = _bilinear(grid, new_grid)  # [new S, S]
    ratio = grid**2 / new_grid**2
    return (
        (weights @ kernel_0 * ratio).astype(kernel_0.dtype),
        bias_0,
        (kernel_1 @ weights.T).astype(kernel_1.dtype),
        (weights @ bias_1).astype(bias_1.dtype),
    )


def _bilinear(grid: int, new_grid: int) -> np.ndarray:
    """Weights [new S, S] of an antialiased bilinear change of a picture's size."""
    scale = max(grid / new_grid, 1.0)  # A filter as wide as a new pixel where there are fewer.
    centres = (np.arange(new_grid) + 0.5) * grid / new_grid - 0.5
    distance = np.abs(centres[:, None] - np.arange(grid)) / scale
    axis = np.maximum(1 - distance, 0)
    axis /= axis.sum(1, keepdims=True)  # At the border, too.
    return np.kron(axis, axis)
