"""What MLP-Mixer's paper tells of speed and cost on TPU v3: arXiv:2105.01601, table 3."""

import functools
from pathlib import Path

from mlp_core.planning.planned_run import PaperFigures
from mlp_core.reports.published_tables import FOLDER, Row, read_table
from mlp_vision.models.registry import MODELS

TABLES = Path(__file__).parents[1] / FOLDER
MIXER_COSTS, GMLP_MODELS = TABLES / "mixer_table_3.json", TABLES / "gmlp_table_1_and_2.json"
TRAINED_AT = 224  # Pixels; what is larger was fine-tuned so.


def published_costs(model: str, image_size: int, data: str, epochs: float | None) -> PaperFigures:
    """What the paper tells of a model, and of its training on a data set for so many epochs."""
    speed, core_days = None, None
    for row in _rows():
        if (row.model_name, row.image_size) != (model, image_size) or image_size != TRAINED_AT:
            continue
        speed = row.published["images_per_core_second"]
        if (row.pretraining_data, row.pretraining_epochs) == (data, epochs):
            core_days = row.published["core_days"]
    return PaperFigures(examples_per_core_second=speed, core_days=core_days)


def published_models() -> list[str]:
    """The models of MLP-Mixer's table 3 and of gMLP's tables 1 and 2, in the order of `MODELS`."""
    of_mixers_table = {row.model_name for row in _rows()}
    gmlps = {row.model["name"] for row in read_table(GMLP_MODELS).rows}
    return [name for name in MODELS if name in of_mixers_table | gmlps]


@functools.cache
def _rows() -> tuple[Row, ...]:
    return read_table(MIXER_COSTS).rows
