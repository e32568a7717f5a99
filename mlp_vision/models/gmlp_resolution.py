"""gMLP's spatial projections for images of another size; an extension of ours, not in the paper.

Shapes: g tokens a side before, S = g * g, one more with a class token.
"""

import numpy as np

from mlp_vision.models.token_grids import bilinear, triangles


def resample_spatial_matrix(
    kernel: np.ndarray, bias: np.ndarray, grid: int, new_grid: int
) -> tuple[np.ndarray, np.ndarray]:
    """A spatial matrix W [S, S] and bias [S] for another number of tokens.

    Rows and columns are taken as pictures and resampled bilinearly. What comes in is scaled by the
    ratio of the numbers of tokens, so that a constant input gives what it gave. A class token keeps
    its weights.
    """
    extra = len(bias) - grid**2  # 1 with a class token.
    weights = bilinear(grid, new_grid)
    outputs = _beside(np.eye(extra), weights)
    inputs = _beside(np.eye(extra), weights * (grid / new_grid) ** 2)
    return (
        (outputs @ kernel @ inputs.T).astype(kernel.dtype),
        (outputs @ bias).astype(bias.dtype),
    )


def resample_toeplitz_vector(
    kernel: np.ndarray, bias: np.ndarray, grid: int, new_grid: int
) -> tuple[np.ndarray, np.ndarray]:
    """A Toeplitz vector [2 S - 1] and bias [S] for another number of tokens, without class token.

    A distance along the sequence is taken as so many rows and columns of the picture, which makes
    the vector a picture of weights by rows and columns; that is resampled bilinearly, and scaled by
    the ratio of the numbers of tokens. Of the two readings that most distances have (one row on,
    or so many columns to the right), the new vector takes the one with fewer columns.
    """
    tokens, new_tokens = grid**2, new_grid**2
    steps, new_steps = np.arange(1 - grid, grid), np.arange(1 - new_grid, new_grid)
    by_rows_and_columns = kernel[tokens - 1 + steps[:, None] * grid + steps]
    axis = triangles(new_steps * grid / new_grid, steps, grid / new_grid)
    resampled = axis @ by_rows_and_columns @ axis.T * tokens / new_tokens

    distances = np.arange(1 - new_tokens, new_tokens)
    rows = np.rint(distances / new_grid).clip(1 - new_grid, new_grid - 1).astype(int)
    columns = distances - rows * new_grid
    new_kernel = resampled[rows + new_grid - 1, columns + new_grid - 1]
    new_bias = bilinear(grid, new_grid) @ bias
    return new_kernel.astype(kernel.dtype), new_bias.astype(bias.dtype)


def _beside(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Two matrices as the blocks of one, zero elsewhere."""
    rows, columns = len(first) + len(second), first.shape[1] + second.shape[1]
    both = np.zeros((rows, columns))
    both[: len(first), : first.shape[1]] = first
    both[len(first) :, first.shape[1] :] = second
    return both
