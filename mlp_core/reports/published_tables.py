"""Tables of papers as data files, one in JSON each, with what computes and measures their cells.

A cell whose `recipes` name config files is filled by runs of them: "mixer_b16_pets", with a variant
"gmlp_mlm_c4:l18", with other fields "gmlp_mlm_c4:l36 model.gating=linear". Several recipes: the
cell is the mean over them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pydantic

from mlp_core.config import frozen_settings
from mlp_core.errors import UserError
from mlp_core.process.files import read_json

FOLDER = "published_tables"  # In the package that it is about.


@frozen_settings
class Column:
    """A column; neither computed nor measured, it is the paper's alone."""

    key: str
    title: str
    computed: Literal["parameters", "gflops"] | None = None  # From the row's model; in millions.
    metric: str | None = None  # Of a run's results.


@frozen_settings
class Row:
    """A row."""

    name: str
    setting: str
    published: Mapping[str, float]  # By the key of a column.
    from_memory: tuple[str, ...] = ()  # Keys of figures not compared with the printed paper.
    recipes: Mapping[str, tuple[str, ...]] = pydantic.Field(default_factory=dict)
    model: Mapping[str, Any] | None = None  # What `model_costs` of the package takes.
    # What a training that costs this much is about; see mlp_vision/tasks/planning.py.
    model_name: str | None = None
    image_size: int | None = None
    pretraining_data: str | None = None
    pretraining_epochs: int | None = None


@frozen_settings
class PublishedTable:
    """A table."""

    title: str
    source: str
    url: str  # Empty: there is none.
    note: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    def decimals(self, column: Column) -> int:
        """Places after the point that a paper prints in a column: JSON drops zeros at the end."""
        figures = [row.published[column.key] for row in self.rows if column.key in row.published]
        return max((len(f"{figure:.6g}".partition(".")[2]) for figure in figures), default=0)


def read_table(file: Path) -> PublishedTable:
    """The table in a file.

    Raises:
        UserError: it cannot be read, or is no such table.
    """
    try:
        table = PublishedTable(**read_json(file))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{file}: no table of published figures ({error}).") from error
    keys = {column.key for column in table.columns}
    for row in table.rows:
        if unknown := {*row.published, *row.recipes, *row.from_memory} - keys:
            raise UserError(f"{file}: row {row.name!r} names no column by {min(unknown)!r}.")
    return table
