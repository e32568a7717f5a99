"""Planning of image classification: runs without images or weights, and published costs."""

import dataclasses
import functools
import re
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from mlp_core.config import parse_config
from mlp_core.data.splits import check_splits
from mlp_core.data.tfds.prepared import find_prepared
from mlp_core.errors import UserError
from mlp_core.planning.planned_run import (
    CountedExamples,
    KnownDataset,
    PaperFigures,
    PlannedRun,
    on_platform,
)
from mlp_core.reports.published_tables import FOLDER, Row, read_table
from mlp_vision.data.image_dataset import (
    ImageDataset,
    is_folder_of_pictures,
    open_image_dataset,
)
from mlp_vision.models.model_spec import ModelSpec
from mlp_vision.models.registry import MODELS, find_model
from mlp_vision.tasks.config import ImageClassificationConfig
from mlp_vision.tasks.experiment import build_task, num_classes
from mlp_vision.tasks.model_from_config import wanted_spec

TABLES = Path(__file__).parents[1] / FOLDER
MIXER_COSTS, GMLP_MODELS = TABLES / "mixer_table_3.json", TABLES / "gmlp_table_1_and_2.json"
TRAINED_AT = 224  # Pixels; larger sizes were fine-tuned.


@dataclasses.dataclass(frozen=True)
class KnownPictures(KnownDataset):
    """An `ImageDataset` known only by its counts and sizes."""

    picture_size: tuple[int, int] | None = None  # Height and width, if the same for all images.

    @property
    def in_memory(self) -> bool:
        """Whether images are stored as they are, rather than cut to the model's views."""
        return self.picture_size is not None

    def load(self, split: str) -> CountedExamples:
        """Returns as many examples as the split has."""
        return CountedExamples(self.num_examples(split))

    records = load


# ImageNet-21k as TFDS-style builders prepare it. JFT-300M is not public: MLP-Mixer, section 3, and
# Sun et al. (arXiv:1707.02968) for its classes.
KNOWN = {
    dataset.name: dataset
    for dataset in (
        KnownPictures("cifar10", 10, {"train": 50_000, "test": 10_000}, (32, 32)),
        KnownPictures("cifar100", 100, {"train": 50_000, "test": 10_000}, (32, 32)),
        KnownPictures("digits", 10, {"train": 1_437, "test": 360}, (8, 8)),
        KnownPictures("synthetic", 10, {"train": 256, "test": 100}, (32, 32)),
        KnownPictures("oxford_iiit_pet", 37, {"train": 3_680, "test": 3_669}),
        KnownPictures(
            "oxford_flowers102", 102, {"train": 1_020, "validation": 1_020, "test": 6_149}
        ),
        KnownPictures("imagenet2012", 1_000, {"train": 1_281_167, "validation": 50_000}),
        KnownPictures("imagenet21k", 21_843, {"full": 14_197_122}),
        KnownPictures("jft_300m", 18_291, {"full": 303_000_000}),
    )
}


def find_dataset(name: str, data_dir: str | None, label: str | None = None) -> ImageDataset | None:
    """Returns what is known of a dataset, or None; see `open_image_dataset`.

    Raises:
        UserError: the local dataset is damaged or not an image dataset.
    """
    if is_folder_of_pictures(name):
        return open_image_dataset(name, data_dir, label)
    if find_prepared(name, data_dir) is None:
        return KNOWN.get(name)
    dataset = open_image_dataset(name, data_dir, label)
    shape = dataset.builder.info.features["image"].shape[:2] if dataset.in_memory else None
    sizes = {split: dataset.num_examples(split) for split in dataset.splits}
    return KnownPictures(name, dataset.num_classes, sizes, shape)


def planned_run(config: ConfigDict, num_examples: int | None, platform: str) -> PlannedRun:
    """Returns the plan of a run of `config` on devices of `platform`; fetches nothing.

    Args:
      config: the experiment.
      num_examples: number of training examples, instead of the dataset's own.
      platform: "tpu", "gpu" or "cpu".

    Raises:
        UserError: the config is wrong, or too little is known of the data.
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
    """Returns the paper's figures, if no field changes the named model."""
    _, sizes = find_model(settings.model.name)
    if any(getattr(spec, name) != size for name, size in sizes.items()):
        return PaperFigures()
    duration = settings.train.duration
    epochs = duration.amount if duration.unit == "epochs" else None
    return published_costs(settings.model.name, spec.image_size, settings.data.name, epochs)


def _told_dataset(settings: ImageClassificationConfig, num_examples: int | None) -> KnownPictures:
    """Returns a dataset of photographs described by flags, the same for each split."""
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


def published_costs(model: str, image_size: int, data: str, epochs: float | None) -> PaperFigures:
    """Returns the paper's figures for a model, and for its training on a dataset for `epochs`."""
    speed, core_days = None, None
    for row in _rows():
        if (row.model_name, row.image_size) != (model, image_size) or image_size != TRAINED_AT:
            continue
        speed = row.published["images_per_core_second"]
        if (row.pretraining_data, row.pretraining_epochs) == (data, epochs):
            core_days = row.published["core_days"]
    return PaperFigures(examples_per_core_second=speed, core_days=core_days)


def published_models() -> list[str]:
    """Returns models of MLP-Mixer's table 3 and gMLP's tables 1 and 2, ordered as in `MODELS`."""
    of_mixers_table = {row.model_name for row in _rows()}
    gmlps = {row.model["name"] for row in read_table(GMLP_MODELS).rows}
    return [name for name in MODELS if name in of_mixers_table | gmlps]


@functools.cache
def _rows() -> tuple[Row, ...]:
    return read_table(MIXER_COSTS).rows
