"""Figures as files: one look for all, and files that are whole, new and equal for equal input.

Colours are told apart by all kinds of colour vision: lines are Okabe and Ito's palette, weights go
from blue over white to red, shares from dark blue to yellow. Sizes are inches, of a page's text
width; letters have seven points and more there.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from mlp_core.errors import UserError
from mlp_core.process.console import in_one_line, print_error
from mlp_core.process.files import whole_output

TEXT_WIDTH = 5.5  # Inches, of a paper in one column.
FORMATS = (".png", ".svg")
DOTS_PER_INCH = 200
LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINE_STYLES = ("-", "--", "-.", ":")
WEIGHTS = "RdBu_r"  # Of signed numbers, with zero in the middle.
SHARES = "cividis"  # Of numbers from zero on.

MISSING_GLYPH = "missing from font"  # In warnings of matplotlib's.

STYLE = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.grid": False,
    "image.interpolation": "nearest",
    "svg.fonttype": "none",  # Text stays text.
    "svg.hashsalt": "all-mlp",  # Names inside are the same each time.
}


def new_figure(height: float, width: float = TEXT_WIDTH) -> Figure:
    """An empty figure of so many inches, in the common style.

    Style is read as parts of a figure are made; make them inside `styled`.
    """
    return Figure(figsize=(width, height), layout="constrained", dpi=DOTS_PER_INCH)


def figure_text(name: object) -> str:
    """A name of any kind as a label that shows it as it is.

    Matplotlib takes text between dollar signs for formulas, and leaves labels that begin with an
    underscore out of legends.
    """
    text = in_one_line(name).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


@contextmanager
def missing_glyphs_noted() -> Iterator[None]:
    """One note in place of a warning for each character that the font lacks, in a context."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    missing = {str(w.message) for w in caught if MISSING_GLYPH in str(w.message)}
    for warning in caught:
        if MISSING_GLYPH not in str(warning.message):
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    if missing:
        print_error(f"Note: the figure's font lacks {len(missing)} of the characters in its texts.")


def styled():
    """A context in which parts of figures are made and saved."""
    return matplotlib.rc_context(STYLE)


def check_blocks(source: str | Path, blocks: Sequence[int], num_blocks: int) -> None:
    """Refuses blocks that the model in `source` does not have.

    Raises:
        UserError: names the first, or there is none to show.
    """
    for block in blocks:
        if not 0 <= block < num_blocks:
            raise UserError(
                f"{source}: there is no block {block}; name some of 0 to {num_blocks - 1}."
            )
    if not len(blocks):
        raise UserError(f"{source}: no block is named; name some of 0 to {num_blocks - 1}.")


def write(figure: Figure, output: Path) -> None:
    """Writes a figure as its suffix says, whole or not at all; equal figures give equal files.

    Raises:
        UserError: it cannot be written.
    """
    kind = output.suffix.removeprefix(".")
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    try:
        with whole_output(output) as part, styled(), missing_glyphs_noted():
            figure.savefig(part, format=kind, metadata=metadata)
    except OSError as error:
        raise UserError(f"--output={output}: cannot be written ({error.strerror}).") from error
