"""A Mixer's parameters for images of another size.

Only the token-mixing MLPs know the number of tokens. Shapes: g tokens a side before, K the factor
by which a side grows, S = g * g tokens and D_S hidden units of the token MLP before.
"""

import numpy as np

from mlp_vision.models.token_grids import bilinear


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
    weights = bilinear(grid, new_grid)  # [new S, S]
    ratio = grid**2 / new_grid**2
    return (
        (weights @ kernel_0 * ratio).astype(kernel_0.dtype),
        bias_0,
        (kernel_1 @ weights.T).astype(kernel_1.dtype),
        (weights @ bias_1).astype(bias_1.dtype),
    )
