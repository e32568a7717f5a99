"""What text models have learned, as figures for papers and notebooks.

figures.attention_maps("runs/amlp_sst2", "The film is not bad.").savefig("attention.png")

Each takes the folder of a run, and returns a matplotlib figure.

Shapes: S tokens.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mlp_core.errors import UserError
from mlp_core.nn.parameters import flatten
from mlp_core.nn.spatial_gating import toeplitz_matrix
from mlp_core.process.figure_files import (
    SHARES,
    TEXT_WIDTH,
    WEIGHTS,
    check_blocks,
    figure_text,
    new_figure,
    styled,
)
from mlp_text.models.model_spec import GmlpEncoderSpec, TextModelSpec
from mlp_text.weights.loading import TextWeights, locate_text_weights, open_text_weights
from mlp_text.weights.pretrained import load_params

MOST_COLUMNS = 3  # Of blocks in a row.
WORD_POINTS, LINE_POINTS = 7, 9  # Of letters at the edge of a map, and from word to word.
WORDS_INCHES = 0.8  # Their length.
TITLE_INCHES = 0.3
SPATIAL_KERNEL = "GmlpBlock_{}/gating/spatial/kernel"


def spatial_matrices(source: str | Path, blocks: Sequence[int] | None = None) -> Figure:
    """The spatial matrices W of gMLP blocks: how much token j (across) adds to position i (down).

    Source: Pay Attention to MLPs, appendix C. White is zero, and each block has a scale of its own,
    whose end its title tells.

    Args:
      source: the folder of a run.
      blocks: those to show, from 0; None: all, or six of them, evenly spaced.

    Raises:
        UserError: the weights cannot be had, or have no such parts.
    """
    spec, params = _gmlp(_open(source))
    blocks = _chosen(source, spec, blocks)
    kernels = [params[SPATIAL_KERNEL.format(block)] for block in blocks]
    matrices = [np.asarray(toeplitz_matrix(k)) if k.ndim == 1 else k for k in kernels]

    def draw(axes: Axes, matrix: np.ndarray) -> None:
        largest = np.abs(matrix).max()
        axes.imshow(matrix, cmap=WEIGHTS, vmin=-largest, vmax=largest)

    return _panels(blocks, matrices, draw)


def toeplitz_bands(source: str | Path) -> Figure:
    """The weights of all Toeplitz matrices, a band a block: across, how far away a token stands.

    Each block is divided by its own largest absolute value; white is zero.

    Args:
      source: the folder of a run.

    Raises:
        UserError: the weights cannot be had, or have no Toeplitz matrices.
    """
    spec, params = _gmlp(_open(source))
    if spec.spatial_matrix != "toeplitz":
        raise UserError(f"{source}: its spatial matrices are full, not Toeplitz.")
    vectors = [params[SPATIAL_KERNEL.format(block)] for block in range(spec.num_blocks)]
    bands = np.stack([vector / (np.abs(vector).max() or 1) for vector in vectors])
    farthest = spec.max_length - 1
    with styled():
        figure = new_figure(1 + 0.16 * max(len(bands), 6))
        axes = figure.subplots()
        extent = (-farthest - 0.5, farthest + 0.5, len(bands) - 0.5, -0.5)
        drawn = axes.imshow(bands, cmap=WEIGHTS, vmin=-1, vmax=1, aspect="auto", extent=extent)
        axes.set(xlabel="distance j - i, in tokens", ylabel="block")
        axes.yaxis.get_major_locator().set_params(integer=True)
        figure.colorbar(drawn, label="part of the block's\nlargest weight")
    return figure


def attention_maps(source: str | Path, text: str, blocks: Sequence[int] | None = None) -> Figure:
    """Where the tiny attention of an aMLP looks: the weights of each token (down) on all (across).

    Source: Pay Attention to MLPs, section 4.3. Weights on pads are left out, so that rows may have
    a sum below one. Each block has a scale of its own, from zero to what its title tells.

    Args:
      source: the folder of a run.
      text: a sentence.
      blocks: those to show, from 0; None: all, or six of them, evenly spaced.

    Raises:
        UserError: the weights cannot be had or have no tiny attention, or the text is empty or too
          long.
    """
    if not text.strip():
        raise UserError("the text is empty; name a sentence.")
    weights = _open(source)
    spec = _gmlp_spec(weights)
    if not spec.tiny_attention_dim:
        raise UserError(f"{source}: this model has no tiny attention; that of an aMLP is shown.")
    blocks = _chosen(source, spec, blocks)
    tokenizer = weights.tokenizer()
    inputs = tokenizer.encode([text], max_length=spec.max_length)
    length = int(inputs["attention_mask"].sum())
    if len(tokenizer.ids([text])[0]) + 2 > length:
        raise UserError(f"the text is longer than the {spec.max_length} tokens of {source}.")
    without_head = dataclasses.replace(weights.spec, head="none")
    params = load_params(weights, without_head)
    _, state = without_head.create_model().apply(
        {"params": params}, **inputs, mutable=["intermediates"]
    )
    words = [figure_text(word) for word in tokenizer.tokens(inputs["input_ids"][0, :length])]
    maps = [_attention(state["intermediates"], block)[:length, :length] for block in blocks]

    map_inches = length * LINE_POINTS / 72
    columns = min(MOST_COLUMNS, max(1, int(TEXT_WIDTH / (map_inches + WORDS_INCHES))))
    points = WORD_POINTS * min(1, (TEXT_WIDTH - WORDS_INCHES) / map_inches)

    def draw(axes: Axes, shares: np.ndarray) -> None:
        axes.imshow(shares, cmap=SHARES, vmin=0)
        axes.set_xticks(range(length), words, rotation=90, fontsize=points)
        axes.set_yticks(range(length), words, fontsize=points)

    return _panels(blocks, maps, draw, inches_for_labels=0.5, most_columns=columns)


def _open(source: str | Path) -> TextWeights:
    return open_text_weights(locate_text_weights(str(source)))


def _gmlp_spec(weights: TextWeights) -> GmlpEncoderSpec:
    if not isinstance(weights.spec.encoder, GmlpEncoderSpec):
        raise UserError(f"{weights.path}: this is a BERT; gMLP, tMLP and aMLP are shown.")
    return weights.spec.encoder


def _gmlp(weights: TextWeights) -> tuple[GmlpEncoderSpec, dict[str, np.ndarray]]:
    """The encoder and its arrays by name."""
    spec = _gmlp_spec(weights)
    without_head: TextModelSpec = dataclasses.replace(weights.spec, head="none")
    return spec, flatten(load_params(weights, without_head))


def _chosen(source: str | Path, spec: GmlpEncoderSpec, blocks: Sequence[int] | None) -> list[int]:
    last = spec.num_blocks - 1
    if blocks is None:
        return sorted({round(last * i / 5) for i in range(6)})
    check_blocks(source, blocks, spec.num_blocks)
    return list(blocks)


def _attention(intermediates: Any, block: int) -> np.ndarray:
    """The weights [S, S] of the only text."""
    return np.asarray(intermediates[f"GmlpBlock_{block}"]["tiny_attention"]["weights"][0][0])


def _panels(
    blocks: Sequence[int],
    arrays,
    draw,
    inches_for_labels: float = 0.2,
    most_columns: int = MOST_COLUMNS,
) -> Figure:
    """A figure with a square panel a block, which `draw(axes, array)` fills.

    Titles tell what full colour stands for, so that blocks can be compared.
    """
    columns = min(len(arrays), most_columns)
    rows = -(-len(arrays) // columns)
    with styled():
        height = TEXT_WIDTH / columns + TITLE_INCHES + inches_for_labels
        figure = new_figure(rows * height)
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in panels[len(arrays) :]:
            axes.set_axis_off()
        for axes, block, array in zip(panels, blocks, arrays, strict=False):
            draw(axes, array)
            axes.set_title(f"block {block}, up to {np.abs(array).max():.2g}")
    return figure
