"""Draws what models have learned, and how runs went: PNG or SVG files for papers.

python launch/visualize.py tokens --weights=imagenet1k/Mixer-B_16 --output=figure5.png
python launch/visualize.py stem --weights=imagenet1k/Mixer-B_16 --output=figure7.png
python launch/visualize.py spatial --weights=hf://timm/gmlp_s16_224.ra3_in1k --output=spatial.svg
python launch/visualize.py bands --weights=runs/tmlp_mlm --output=bands.png
python launch/visualize.py attention --weights=runs/amlp_sst2 --text="Not bad." --output=maps.png
python launch/visualize.py curves runs/first runs/second --metric=test/top1 --output=curves.png
python launch/visualize.py sweep runs/mixer_b16_cifar100_sweep --metric=validation/top1 \
    --field=schedule.peak_learning_rate --output=rates.svg

tokens: hidden units of a Mixer's token-mixing MLPs. stem: filters of the patches. spatial: gMLP's
spatial matrices, of images by their rows. bands: Toeplitz matrices of a text model by block.
attention: where aMLP's tiny attention looks. curves and sweep: runs, or all runs of a sweep, those
that differ in their seeds only taken together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from absl import flags

from launch import command, experiments
from mlp_core.errors import UserError
from mlp_core.process.console import print_line

if TYPE_CHECKING:  # Matplotlib takes longer to import than a wrong flag to answer.
    from matplotlib.figure import Figure

flags.adopt_module_key_flags(command)
OUTPUT = flags.DEFINE_string("output", None, "File to write, FILE.png or FILE.svg.")
WEIGHTS = flags.DEFINE_string(
    "weights", None, "A run's folder, a file, a published name, hf://OWNER/NAME or a URL."
)
MIRROR = flags.DEFINE_string("mirror", None, "Folder or URL that holds the published files.")
BLOCKS = flags.DEFINE_list(
    "blocks", None, "From 0; of tokens the first three by default, else all or six of them."
)
UNITS = flags.DEFINE_integer(
    "units", None, "Units or filters, those of the lowest frequency; all by default.", lower_bound=1
)
TEXT = flags.DEFINE_string("text", None, "The sentence that attention looks at.")
METRIC = flags.DEFINE_string("metric", None, "Of runs, such as test/top1 or train/loss.")
FIELD = flags.DEFINE_string("field", None, "Of sweep, such as schedule.peak_learning_rate.")
EXAMPLES = flags.DEFINE_bool("examples", False, "Of curves: over examples, not over steps.")
FLAG_HOLDERS = {
    holder.name: holder
    for holder in (WEIGHTS, MIRROR, BLOCKS, UNITS, TEXT, METRIC, FIELD, EXAMPLES)
}


def main(arguments: list[str]) -> None:
    """Draws the figure that is named first."""
    draw, folders = checked_figure(arguments)
    # Imported here so that --help and a wrong flag are answered at once.
    from mlp_core.process.figure_files import FORMATS, write
    from mlp_core.process.files import check_output

    output = command.path_of(OUTPUT)
    check_output(output, FORMATS)
    write(draw(folders), output)
    print_line(f"Wrote {output}")


def checked_figure(arguments: list[str]) -> tuple[Callable[[list[str]], Figure], list[str]]:
    """What draws the figure that is named first, and the folders that are named behind it.

    Raises:
        UserError: there is no such figure, or the flags are not its own.
    """
    name, *folders = arguments or [""]
    if name not in FIGURES:
        raise UserError(f"there is no figure {name!r}; name one first: {', '.join(FIGURES)}.")
    draw, needed, optional = FIGURES[name]
    if folders and "metric" not in needed:
        raise UserError(f"{folders[0]!r}: {name} takes --weights, and nothing beside the flags.")
    command.require(*(FLAG_HOLDERS[flag] for flag in needed), OUTPUT)
    for flag, holder in FLAG_HOLDERS.items():
        if holder.present and flag not in (*needed, *optional):
            raise UserError(f"--{flag}: {name} has no use for this flag; leave it out.")
    return draw, folders


def draw_tokens(_: list[str]) -> Figure:
    """Hidden units of token-mixing MLPs."""
    from mlp_vision.tools.figures import token_units

    return token_units(WEIGHTS.value, _blocks(), UNITS.value, MIRROR.value)


def draw_stem(_: list[str]) -> Figure:
    """Filters of the stem."""
    from mlp_vision.tools.figures import stem_filters

    return stem_filters(WEIGHTS.value, UNITS.value, MIRROR.value)


def draw_spatial(_: list[str]) -> Figure:
    """Spatial matrices, of images or of text as the weights are."""
    if experiments.are_of_text(WEIGHTS.value):
        from mlp_text.tools.figures import spatial_matrices

        return spatial_matrices(WEIGHTS.value, _blocks())
    from mlp_vision.tools.figures import spatial_rows

    return spatial_rows(WEIGHTS.value, _blocks(), mirror=MIRROR.value)


def draw_bands(_: list[str]) -> Figure:
    """Toeplitz matrices of a text model."""
    from mlp_text.tools.figures import toeplitz_bands

    return toeplitz_bands(WEIGHTS.value)


def draw_attention(_: list[str]) -> Figure:
    """Tiny attention over a sentence."""
    from mlp_text.tools.figures import attention_maps

    return attention_maps(WEIGHTS.value, TEXT.value, _blocks())


def draw_curves(folders: list[str]) -> Figure:
    """Training curves."""
    from mlp_core.reports.figures import training_curves

    return training_curves(folders, METRIC.value, EXAMPLES.value)


def draw_sweep(folders: list[str]) -> Figure:
    """Results over a field."""
    from mlp_core.reports.figures import results_over

    return results_over(folders, FIELD.value, METRIC.value)


# By name: what draws it, the flags that it needs, and those that it may have.
FIGURES: dict[str, tuple[Callable[[list[str]], Figure], list[str], list[str]]] = {
    "tokens": (draw_tokens, ["weights"], ["blocks", "units", "mirror"]),
    "stem": (draw_stem, ["weights"], ["units", "mirror"]),
    "spatial": (draw_spatial, ["weights"], ["blocks", "mirror"]),
    "bands": (draw_bands, ["weights"], []),
    "attention": (draw_attention, ["weights", "text"], ["blocks"]),
    "curves": (draw_curves, ["metric"], ["examples"]),
    "sweep": (draw_sweep, ["metric", "field"], []),
}


def _blocks() -> list[int] | None:
    try:
        return None if BLOCKS.value is None else [int(block) for block in BLOCKS.value]
    except ValueError:
        raise UserError(
            f"--blocks={','.join(BLOCKS.value)}: name numbers from 0, such as 0,1,2."
        ) from None


if __name__ == "__main__":
    command.run_command(main, takes_files=True)
