"""Pictures of tokens, g x g, resampled to another number of tokens."""

import numpy as np


def bilinear(grid: int, new_grid: int) -> np.ndarray:
    """Weights [new S, S] of an antialiased bilinear change of size; S tokens row by row."""
    centres = (np.arange(new_grid) + 0.5) * grid / new_grid - 0.5
    axis = triangles(centres, np.arange(grid), grid / new_grid)
    return np.kron(axis, axis)


def triangles(centres: np.ndarray, places: np.ndarray, spacing: float) -> np.ndarray:
    """Weights [new, old] of values at `places`, one apart, for values at `centres`.

    The filter is as wide as `spacing`, the distance of the centres, where there are fewer of them;
    the weights of a centre add up to one, at the border too.
    """
    distance = np.abs(centres[:, None] - places) / max(spacing, 1.0)
    weights = np.maximum(1 - distance, 0)
    return weights / weights.sum(1, keepdims=True)


def interpolation(grid: int, new_grid: int) -> np.ndarray:
    """Weights [new S, S] of linear interpolation between tokens; corners stay corners.

    As `scipy.ndimage.zoom(..., order=1)` computes, with which Google's code resizes positions.
    """
    centres = np.linspace(0, grid - 1, new_grid) if new_grid > 1 else np.zeros(1)
    axis = triangles(centres, np.arange(grid), 1.0)
    return np.kron(axis, axis)
