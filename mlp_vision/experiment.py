"""Sets up and runs an image classification experiment: checks, then fetches, then trains."""

import dataclasses
from pathlib import Path

import flax.linen as nn
from ml_collections import ConfigDict

from mlp_core import train_loop
from mlp_core.config import parse_config
from mlp_core.console import say
from mlp_core.errors import MissingError, UserError
from mlp_core.optimizer import check_weight_decay, make_schedule
from mlp_core.plan import Plan
from mlp_core.precision import compute_dtype
from mlp_core.run_directory import (
    RunFiles,
    check_run_directory,
    has_checkpoint,
    locked,
    save_config,
    save_results,
)
from mlp_vision.classification import ACCURACIES, ImageClassification
from mlp_vision.config import ImageClassificationConfig
from mlp_vision.datasets.image_dataset import ImageDataset, check_split, open_image_dataset
from mlp_vision.mixer import check_patch_size
from mlp_vision.models import SIZE_FIELDS, create_model
from mlp_vision.pretrained import check_before_fetching, check_params, expected_params
from mlp_vision.published_weights import locate_weights


@dataclasses.dataclass(frozen=True)
class Prepared:
    """An experiment that has been checked, with its data and weights on this machine."""

    settings: ImageClassificationConfig
    dataset: ImageDataset
    model: nn.Module
    weights: Path | None  # None: random, or a checkpoint is there to go on with.


def prepare(config: ConfigDict, workdir: Path) -> Prepared:
    """Checks the experiment and fetches what it needs; checks come before downloads.

    Raises:
        UserError: something in the configuration, the data or the weights is wrong or missing.
    """
    settings = parse_config(ImageClassificationConfig, config)
    _check(settings)
    check_run_directory(workdir, config)
    dataset, weights = _fetch(settings, needs_weights=not has_checkpoint(workdir))
    plan = Plan.of(settings, dataset.num_examples(settings.data.train_split))
    make_schedule(settings.schedule, plan.total, plan.warmup)
    model = _build_model(settings, _num_classes(settings, dataset))
    if weights is not None:
        check_params(weights, model, settings.data.image_size, settings.init.head)
    return Prepared(settings, dataset, model, weights)


def train(config: ConfigDict, workdir: Path, dry_run: bool = False) -> dict[str, float]:
    """Runs the experiment in `workdir` and returns the last evaluation by metric name.

    Checks come before downloads, downloads before compilation. A dry run ends after them.

    Raises:
        UserError: something in the configuration, the data or the weights is wrong or missing.
    """
    prepared = prepare(config, workdir)
    if dry_run:
        say("Dry run: configuration, data and weights are in order; nothing was trained.")
        return {}
    settings, dataset = prepared.settings, prepared.dataset
    task = ImageClassification(
        config=settings,
        model=prepared.model,
        weights=prepared.weights,
        train_source=dataset.load(settings.data.train_split),
        eval_sources={
            name: dataset.load(split) for name, split in settings.data.eval_splits.items()
        },
    )
    with locked(workdir):
        check_run_directory(workdir, config)  # Again: a run that has just ended may lie there.
        save_config(workdir, config)
        results = train_loop.train(task, settings, workdir)
        save_results(workdir, results)
    _say_where(RunFiles.of(workdir), results)
    return results


def _say_where(files: RunFiles, results: dict[str, float]) -> None:
    """The end of a run: its score, its files, and what one might do next."""
    scores = [f"{name} {100 * v:.2f} %" for name, v in results.items() if not name.endswith("loss")]
    say(
        f"\nDone: {', '.join(scores)}\n"
        f"Checkpoints  {files.checkpoints}\n"
        f"Metrics      {files.metrics}\n"
        f"TensorBoard  {files.tensorboard} (pip install tensorboard; tensorboard --logdir=...)\n"
        "Next: change any field with --config.FIELD=VALUE and another --workdir, or fine-tune "
        "Google's\nMixer-B/16 with --config=configs/mixer_b16_cifar100.py (:smoke for two minutes)."
    )


def _check(settings: ImageClassificationConfig) -> None:
    """What can be known to be wrong before anything is fetched."""
    train_loop.check_batch_sizes(settings)
    model = _build_model(settings, num_classes=1)
    size = settings.data.image_size
    try:
        check_patch_size(model.patch_size, (size, size))
    except UserError as error:
        raise UserError(f"config.data.image_size, config.model.patch_size: {error}") from None
    if settings.init.weights:
        check_before_fetching(settings.init.weights, settings.init.mirror, model, size)
    check_weight_decay(settings.optimizer, expected_params(model, size))
    low, high = settings.data.value_range
    if low >= high:
        raise UserError(f"config.data.value_range: {low} to {high} is no range; set low < high.")
    for split in settings.data.eval_splits:
        if split == "train" or "/" in split:
            raise UserError(
                f"config.data.eval_splits.{split}: evaluation cannot be named so, since training "
                "metrics are; name it train_part, say."
            )
    names = [f"{split}/{metric}" for split in settings.data.eval_splits for metric in ACCURACIES]
    if settings.evaluation.best_metric not in names:
        raise UserError(
            f"config.evaluation.best_metric: {settings.evaluation.best_metric!r} is not measured; "
            f"choose from {', '.join(names)}."
        )


def _fetch(
    settings: ImageClassificationConfig, needs_weights: bool
) -> tuple[ImageDataset, Path | None]:
    """Data set and weight file, downloaded where need be; tells all that is missing at once."""
    dataset, weights, missing = None, None, []
    try:
        dataset = open_image_dataset(settings.data.name, settings.data.data_dir)
    except MissingError as error:
        missing.append(str(error))
    try:
        if settings.init.weights and needs_weights:
            weights = locate_weights(settings.init.weights, settings.init.mirror)
    except MissingError as error:
        missing.append(str(error))
    if missing:
        missing.append("(configs/mixer_digits.py needs no download.)")
        raise MissingError("\n".join(missing))
    check_split("config.data.train_split", dataset, settings.data.train_split)
    for name, split in settings.data.eval_splits.items():
        check_split(f"config.data.eval_splits.{name}", dataset, split)
    return dataset, weights


def _num_classes(settings: ImageClassificationConfig, dataset: ImageDataset) -> int:
    """The width of the head: the data set's classes, unless the configuration asks for more."""
    num_classes = settings.model.num_classes or dataset.num_classes
    if num_classes < dataset.num_classes:
        raise UserError(
            f"config.model.num_classes: {num_classes} is too few for {dataset.name}, which has "
            f"{dataset.num_classes} classes; leave it unset."
        )
    return num_classes


def _build_model(settings: ImageClassificationConfig, num_classes: int) -> nn.Module:
    sizes = {name: getattr(settings.model, name) for name in SIZE_FIELDS}
    return create_model(
        settings.model.name,
        num_classes,
        gelu=settings.model.gelu,
        layer_norm_epsilon=settings.model.layer_norm_epsilon,
        dropout_rate=settings.model.dropout_rate,
        stochastic_depth=settings.model.stochastic_depth,
        dtype=compute_dtype(settings.train.compute_dtype),
        **{name: value for name, value in sizes.items() if value is not None},
    )
