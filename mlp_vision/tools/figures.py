"""Figures of learned weights of image models, for papers and notebooks.

figures.token_units("imagenet1k/Mixer-B_16", blocks=(0, 1, 2)).savefig("figure5.png")

Each function takes weights like `load_pretrained` and returns a matplotlib figure.

Shapes: U units, G patches per side, S = G * G tokens, P pixels per patch side, C channels.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mlp_core.errors import UserError
from mlp_core.nn.spatial_gating import toeplitz_matrix
from mlp_core.process.figure_files import TEXT_WIDTH, WEIGHTS, check_blocks, new_figure, styled
from mlp_vision.weights.loading import Weights, open_weights
from mlp_vision.weights.published_weights import locate_weights

COLUMNS = 16  # Images per row; even, so that pairs stay together.
TOKEN_UNITS = "MixerBlock_{}/token_mixing/Dense_0/kernel"  # [S, U]
TOKEN_MIXING, SPATIAL_GATING = "token-mixing MLPs", "spatial gating units"
SPATIAL_MATRIX = "GmlpBlock_{}/gating/spatial/kernel"  # [S, S], or [2 S - 1] for a Toeplitz matrix.
TITLE_INCHES = 0.3


def token_units(
    source: str | Path,
    blocks: Sequence[int] | None = None,
    units: int | None = None,
    mirror: str | None = None,
) -> Figure:
    """Plots weights of token-mixing hidden units as images: MLP-Mixer, figures 5 and 6.

    Low frequencies come first, each unit followed by the one closest to its inverse. White is
    zero, and each unit has its own scale.

    Args:
      source: weights of an MLP-Mixer.
      blocks: indices of the blocks to show, from 0; None: the first three.
      units: number of units to show per block, in this order; None: all.
      mirror: a directory or URL that holds published weights.

    Raises:
        UserError: the weights are unavailable or have no such parts, or a number is below 1.
    """
    _check_number("units", units)
    weights = _open(source, mirror)
    if blocks is None:
        blocks = range(min(3, _num_blocks(weights, TOKEN_MIXING)))
    images = []
    for kernel in _of_blocks(weights, TOKEN_UNITS, blocks, TOKEN_MIXING):
        grid = math.isqrt(kernel.shape[0])
        block_units = kernel.T.reshape(-1, grid, grid)  # [U, G, G]
        images.append(block_units[in_pairs(block_units)[:units]])
    titles = [f"block {block}" for block in blocks]
    return _sheets([_own_scales(block) for block in images], titles)


def stem_filters(source: str | Path, units: int | None = None, mirror: str | None = None) -> Figure:
    """Plots the patch embedding filters in colour: MLP-Mixer, figure 7.

    Low frequencies come first. Grey is zero, and each filter has its own scale.

    Args:
      source: weights.
      units: number of filters to show, in this order; None: all.
      mirror: a directory or URL that holds published weights.

    Raises:
        UserError: the weights are unavailable, or `units` is below 1.
    """
    _check_number("units", units)
    weights = _open(source, mirror)
    kernel = weights.read()["stem/kernel"]  # [P, P, 3, C]
    filters = kernel.transpose(3, 0, 1, 2)  # [C, P, P, 3]
    order = np.argsort(mean_frequency(filters.mean(-1)), kind="stable")[:units]
    return _sheets([(1 + _own_scales(filters[order])) / 2], [f"stem, {kernel.shape[0]} pixels"])


def spatial_rows(
    source: str | Path,
    blocks: Sequence[int] | None = None,
    rows: int = COLUMNS,
    mirror: str | None = None,
) -> Figure:
    """Plots rows of gMLP's spatial matrices as images: a token's weights for each position.

    Source: Pay Attention to MLPs, section 3. Rows are those of evenly spaced tokens, the same for
    all blocks; white is zero, and each matrix row has its own scale.

    Args:
      source: weights of a gMLP without a class token.
      blocks: indices of the blocks to show, a line each; None: six, evenly spaced.
      rows: number of rows per block.
      mirror: a directory or URL that holds published weights.

    Raises:
        UserError: the weights are unavailable or have no such parts, or a number is below 1.
    """
    _check_number("rows", rows)
    weights = _open(source, mirror)
    if blocks is None:
        last = _num_blocks(weights, SPATIAL_GATING) - 1
        blocks = sorted({round(last * i / 5) for i in range(6)})
    lines = []
    for kernel in _of_blocks(weights, SPATIAL_MATRIX, blocks, SPATIAL_GATING):
        matrix = np.asarray(toeplitz_matrix(kernel)) if kernel.ndim == 1 else kernel
        tokens, grid = len(matrix), math.isqrt(len(matrix))
        if grid * grid != tokens:
            raise UserError(f"{weights.path}: {tokens} tokens are no square of patches.")
        chosen = np.linspace(0, tokens - 1, rows).round().astype(int)
        lines.append(_own_scales(matrix[chosen].reshape(-1, grid, grid)))
    return _sheets(lines, [f"block {block}" for block in blocks], columns=rows)


def _check_number(name: str, number: int | None) -> None:
    if number is not None and number < 1:
        raise UserError(f"{name}={number}: name a number from 1 on.")


def _open(source: str | Path, mirror: str | None) -> Weights:
    return open_weights(locate_weights(str(source), mirror))


def _num_blocks(weights: Weights, part: str) -> int:
    """Returns the number of blocks; models without blocks, such as ResNets, lack `part`."""
    if "num_blocks" not in weights.spec.sizes:
        raise UserError(f"{weights.path}: {weights.spec.TITLE} has no {part}.")
    return weights.spec.num_blocks


def _of_blocks(weights: Weights, name: str, blocks: Sequence[int], part: str) -> list[np.ndarray]:
    """Returns the arrays called `name` of some blocks.

    Raises:
        UserError: the blocks do not exist, or lack such arrays.
    """
    check_blocks(weights.path, blocks, _num_blocks(weights, part))
    arrays = weights.read()
    if name.format(0) not in arrays:
        raise UserError(f"{weights.path}: {weights.spec.TITLE} has no {part}.")
    return [arrays[name.format(block)] for block in blocks]


def _own_scales(images: np.ndarray) -> np.ndarray:
    """Scales images [U, ...] to -1 to 1, each by its largest absolute value."""
    largest = np.abs(images).max(tuple(range(1, images.ndim)), keepdims=True)
    return images / np.where(largest > 0, largest, 1)


def _sheets(sheets: Sequence[np.ndarray], titles: Sequence[str], columns: int = COLUMNS) -> Figure:
    """Returns a figure of stacked sheets of small images [U, H, W] or [U, H, W, 3]."""
    with styled():
        heights = [TITLE_INCHES + TEXT_WIDTH / columns * -(-len(s) // columns) for s in sheets]
        figure = new_figure(sum(heights))
        all_axes = figure.subplots(len(sheets), squeeze=False, height_ratios=heights)[:, 0]
        for axes, images, title in zip(all_axes, sheets, titles, strict=True):
            _draw(axes, _tiled(images, columns))
            axes.set_title(title, loc="left")
    return figure


def _draw(axes: Axes, sheet: np.ndarray) -> None:
    axes.set_axis_off()
    axes.imshow(sheet, cmap=WEIGHTS, vmin=-1, vmax=1)


def _tiled(images: np.ndarray, columns: int) -> np.ndarray:
    """Tiles images in rows, separated by empty lines of one pixel."""
    height, width, *colours = images.shape[1:]
    rows = -(-len(images) // columns)
    empty = 1.0 if colours else np.nan
    sheet = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1, *colours), empty)
    for i, image in enumerate(images):
        top, left = i // columns * (height + 1), i % columns * (width + 1)
        sheet[top : top + height, left : left + width] = image
    return sheet


def mean_frequency(units: np.ndarray) -> np.ndarray:
    """Returns the power-weighted mean frequency [U] of images [U, G, G], in cycles per patch."""
    power = np.abs(np.fft.fft2(units)) ** 2  # [U, G, G]
    cycles = np.fft.fftfreq(units.shape[-1])
    radius = np.hypot(cycles[:, None], cycles[None, :])
    total = power.sum((1, 2))
    return (power * radius).sum((1, 2)) / np.where(total > 0, total, 1)


def in_pairs(units: np.ndarray) -> np.ndarray:
    """Returns the indices [U] that order images [U, G, G] in pairs of opposite phase.

    Each pair is the remaining unit of the lowest frequency and the remaining unit with the most
    negative correlation to it. An odd one comes last.
    """
    flat = units.reshape(len(units), -1)
    norms = np.linalg.norm(flat, axis=1, keepdims=True)
    directions = flat / np.where(norms > 0, norms, 1)
    left = list(np.argsort(mean_frequency(units), kind="stable"))
    order = []
    while left:
        unit = left.pop(0)
        order.append(unit)
        if left:
            partner = int(np.argmin(directions[left] @ directions[unit]))
            order.append(left.pop(partner))
    return np.array(order)
