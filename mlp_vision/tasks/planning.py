"""Image classification to be planned: the task of a run, without pictures and weights."""

import re

import jax
import numpy as np
from ml_collections import ConfigDict

from mlp_core.config import parse_config
from mlp_core.data.splits import check_splits
from mlp_core.errors import UserError
from mlp_core.planning.planned_run import PaperFigures, PlannedRun, on_platform
from mlp_vision.data.known_sizes import KnownPictures, find_dataset
from mlp_vision.models.model_spec import ModelSpec
from mlp_vision.models.registry import find_model
from mlp_vision.tasks.config import ImageClassificationConfig
from mlp_vision.tasks.experiment import build_task, num_classes
from mlp_vision.tasks.published_costs import published_costs
from mlp_vision.tasks.wanted_model import wanted_spec


def planned_run(config: ConfigDict, num_examples: int | None, platform: str) -> PlannedRun:
    """What a run of `config` on devices of `platform` would train; fetches nothing.

    Args:
      config: the experiment.
      num_examples: to train on, in place of what the data set has.
      platform: "tpu", "gpu" or "cpu".

    Raises:
        UserError: something in the configuration is wrong, or too little is known of the data.
    """
    settings = on_platform(parse_config(ImageClassificationConfig, config), platform)
    data = settings.data
    dataset = find_dataset(data.name, data.data_dir, data.label) or _told_dataset(
        settings, num_examples
    )
    check_splits(dataset, data.train_split, data.eval_splits)
    spec = wanted_spec(settings, None, num_classes(settings, dataset), tuple(dataset.class_names))
    task = build_task(settings, dataset, spec)
    picture = (spec.image_size, spec.image_size)
    own_size = getattr(dataset, "picture_size", None) or picture
    return PlannedRun(
        settings=settings,
        task=task,
        title=f"{settings.model.name} on {data.name}",
        unit="images",
        num_examples=num_examples or len(task.train_source),
        train_example=_example(picture if task.train_views_on_host else own_size),
        eval_example=_example(picture if task.eval_views_on_host else own_size),
        paper=_paper_figures(settings, spec),
    )


def _paper_figures(settings: ImageClassificationConfig, spec: ModelSpec) -> PaperFigures:
    """What the paper tells, where no field makes the model another than its name says."""
    _, sizes = find_model(settings.model.name)
    if any(getattr(spec, name) != size for name, size in sizes.items()):
        return PaperFigures()
    duration = settings.train.duration
    epochs = duration.amount if duration.unit == "epochs" else None
    return published_costs(settings.model.name, spec.image_size, settings.data.name, epochs)


def _told_dataset(settings: ImageClassificationConfig, num_examples: int | None) -> KnownPictures:
    """Photographs of which flags tell the figures, the same for each split."""
    data, classes = settings.data, settings.model.num_classes
    if num_examples is None or classes is None:
        raise UserError(
            f"config.data.name: {data.name} is not on this machine and nothing is known of it; "
            "tell with --num_examples how many pictures there are to train on, and with "
            "--config.model.num_classes of how many classes."
        )
    splits = " ".join([data.train_split, *data.eval_splits.values()])
    sizes = dict.fromkeys(re.findall(r"[A-Za-z]\w*", splits), num_examples)
    return KnownPictures(data.name, classes, sizes)


def _example(picture_size: tuple[int, int]) -> dict[str, jax.ShapeDtypeStruct]:
    return {
        "image": jax.ShapeDtypeStruct((*picture_size, 3), np.uint8),
        "label": jax.ShapeDtypeStruct((), np.int32),
    }
