"""Figure files in one style, written atomically and reproducible for equal input.

Colours suit all kinds of colour vision: lines use the palette of Okabe and Ito, weights go from
blue through white to red, shares from dark blue to yellow. Sizes are inches at a page's text width;
fonts are at least seven points.
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

TEXT_WIDTH = 5.5  # Inches, in a one-column paper.
FORMATS = (".png", ".svg")
DOTS_PER_INCH = 200
LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINE_STYLES = ("-", "--", "-.", ":")
WEIGHTS = "RdBu_r"  # For signed numbers, centred at zero.
SHARES = "cividis"  # For non-negative numbers.

MISSING_GLYPH = "missing from font"  # In matplotlib's warnings.

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
    "svg.hashsalt": "all-mlp",  # Makes internal ids reproducible.
}


def new_figure(height: float, width: float = TEXT_WIDTH) -> Figure:
    """Returns an empty figure in the common style; sizes are inches.

    Matplotlib reads the style when it creates artists; create them inside `styled`.
    """
    return Figure(figsize=(width, height), layout="constrained", dpi=DOTS_PER_INCH)


def figure_text(name: object) -> str:
    """Returns a name as a label that matplotlib shows verbatim.

    Matplotlib treats text between dollar signs as formulas and omits labels that begin with an
    underscore from legends.
    """
    text = in_one_line(name).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


@contextmanager
def missing_glyphs_noted() -> Iterator[None]:
    """Prints one note instead of a warning for each character that the font lacks."""
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
    """Context in which figures are drawn and saved in the common style."""
    return matplotlib.rc_context(STYLE)


def check_blocks(source: str | Path, blocks: Sequence[int], num_blocks: int) -> None:
    """Checks that the model in `source` has these blocks.

    Raises:
        UserError: `blocks` is empty, or names the first missing block.
    """
    for block in blocks:
        if not 0 <= block < num_blocks:
            raise UserError(
                f"{source}: there is no block {block}; name some of 0 to {num_blocks - 1}."
            )
    if not len(blocks):
        raise UserError(f"{source}: no block is named; name some of 0 to {num_blocks - 1}.")


def write(figure: Figure, output: Path) -> None:
    """Writes a figure atomically in the format of the suffix; equal figures give equal files."""
    kind = output.suffix.removeprefix(".")
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    try:
        with whole_output(output) as part, styled(), missing_glyphs_noted():
            figure.savefig(part, format=kind, metadata=metadata)
    except OSError as error:
        raise UserError(f"--output={output}: cannot be written ({error.strerror}).") from error
