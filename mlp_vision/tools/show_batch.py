"""Draws augmented images: a training batch from the run's own input pipeline."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from matplotlib.figure import Figure
from ml_collections import ConfigDict

from mlp_core.config import parse_config
from mlp_core.data.pipeline import TrainOrder, train_batches
from mlp_core.errors import UserError
from mlp_core.process.console import in_one_line, say
from mlp_core.process.figure_files import FORMATS, figure_text, write
from mlp_core.process.files import check_output
from mlp_core.train.durations import Plan
from mlp_core.train.step import step_rngs
from mlp_vision.data.host_views import EvalView
from mlp_vision.data.image_dataset import ImageDataset, open_source
from mlp_vision.models.model_spec import ModelSpec
from mlp_vision.models.permutations import permute
from mlp_vision.tasks.classification import class_shares, eval_view
from mlp_vision.tasks.config import AugmentConfig, ImageClassificationConfig
from mlp_vision.tasks.experiment import build_task, check_before_fetching, fetch, num_classes
from mlp_vision.tasks.model_from_config import wanted_spec
from mlp_vision.weights.loading import open_weights
from mlp_vision.weights.published_weights import spec_before_fetching

CELL_INCHES = 1.35
LONGEST_NAME = 22  # Letters that fit under an image.


def show_batch(
    config: ConfigDict, name: str, output: Path, rows: int, columns: int, step: int
) -> None:
    """Draws the first images of the batch that step `step` trains on, with their labels.

    They match the run exactly: same examples, same random draws. A last row shows images as in
    evaluation.

    Args:
      config: an experiment.
      name: its name in the title.
      output: the PNG or SVG file to write.
      rows: rows of training images; fewer if the batch is smaller.
      columns: images per row.
      step: index of the step, from 0.

    Raises:
        UserError: the config or the data is wrong, the step does not exist, or the output
          cannot be written.
    """
    check_output(output, FORMATS)
    settings = parse_config(ImageClassificationConfig, config)
    dataset, spec = _open(settings)
    batch_size, split = settings.train.global_batch_size, settings.data.train_split
    num_steps = Plan.of(settings, dataset.num_examples(split)).total
    if step >= num_steps:
        raise UserError(f"--step={step}: the run's steps are 0 to {num_steps - 1:,}.")
    count = min(rows * columns, batch_size)
    views, shares = _training_views(settings, dataset, spec, step, count)
    indices = TrainOrder(dataset.num_examples(split), batch_size, settings.seed).batch(step)
    plain, labels = _evaluation_views(dataset, spec, split, indices[: min(columns, count)])
    names = dataset.class_names
    figure = _draw(
        f"{figure_text(name)}: {count:,} of the {batch_size:,} pictures of step {step:,}\n"
        f"{in_words(settings.augment)}",
        views,
        [_in_shares(row, names) for row in shares],
        f"The first of these examples as evaluation sees them: preset {spec.eval_preset}",
        plain,
        [_shortened(names[label]) for label in labels],
        columns,
    )
    write(figure, output)
    say(f"Wrote {output}: {count:,} training pictures, and {len(plain)} as evaluation sees them")


def in_words(augment: AugmentConfig) -> str:
    """Lists what is enabled, such as "crop inception (5 % or more), flip, mixup 0.5"."""
    crop = {
        "inception": f"crop inception ({100 * augment.crop_min_area:g} % or more)",
        "pad": f"crop pad ({augment.crop_padding} pixels)",
        "squash": f"crop squash (of {augment.crop_from} pixels)",
        "none": "no crop",
    }[augment.crop]
    policy = augment.policy
    if policy == "randaugment":
        policy += f" ({augment.randaugment_layers} at {augment.randaugment_magnitude:g})"
    parts = {
        crop: True,
        policy: augment.policy != "none",
        "flip": augment.flip,
        f"random erasing {augment.random_erasing:g}": augment.random_erasing > 0,
        f"mixup {augment.mixup_alpha:g}": augment.mixup_alpha > 0,
        f"CutMix {augment.cutmix_alpha:g}": augment.cutmix_alpha > 0,
    }
    return ", ".join(part for part, is_on in parts.items() if is_on)


def _open(settings: ImageClassificationConfig) -> tuple[ImageDataset, ModelSpec]:
    """Opens the dataset and the model spec, which may come from weights."""
    init = settings.init
    start = spec_before_fetching(init.weights, init.mirror) if init.weights else None
    check_before_fetching(settings, start)
    dataset, weights = fetch(settings, needs_weights=start is None)
    if weights:
        start = open_weights(weights).spec
    spec = wanted_spec(settings, start, num_classes(settings, dataset), tuple(dataset.class_names))
    return dataset, spec


def _training_views(
    settings: ImageClassificationConfig,
    dataset: ImageDataset,
    spec: ModelSpec,
    step: int,
    count: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the first `count` images, from 0 to 1, and their class shares."""
    trains_only = dataclasses.replace(settings.data, eval_splits={})  # Skips eval data.
    task = build_task(dataclasses.replace(settings, data=trains_only), dataset, spec)
    batch = next(
        train_batches(
            task.train_source, settings.train.global_batch_size, settings.seed, step, step + 1
        )
    )
    augmented = jax.jit(task.augment)(batch, step_rngs(jax.random.key(settings.seed), step)[0])
    low, high = spec.value_range
    views = np.asarray(augmented["image"][:count], np.float32)
    shares = class_shares(augmented["label"][:count], spec.num_classes)
    return ((views - low) / (high - low)).clip(0, 1), np.asarray(shares)


def _evaluation_views(
    dataset: ImageDataset, spec: ModelSpec, split: str, indices: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns images of a split, from 0 to 1, and their labels."""
    view = EvalView(spec.image_size, spec.eval_preset)
    batch = open_source(dataset, split, view).gather(indices)
    images = jax.numpy.asarray(batch["image"])
    views = eval_view(spec, images) if dataset.in_memory else images
    views = permute(views, spec.permutation, spec.moved_patch)
    return np.asarray(views) / 255, batch["label"]


def _in_shares(shares: np.ndarray, names: Sequence[str]) -> str:
    """Returns the name of a label, or the names in a mixture with their shares, a line each."""
    classes = [c for c in np.argsort(-shares, kind="stable") if shares[c] > 0]
    if len(classes) == 1:
        return _shortened(names[classes[0]])
    return "\n".join(f"{_shortened(names[c])} {shares[c]:.2f}" for c in classes)


def _shortened(name: str) -> str:
    name = in_one_line(name)
    return figure_text(name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…")


def _draw(
    title: str,
    views: np.ndarray,
    labels: Sequence[str],
    second_title: str,
    plain: np.ndarray,
    plain_labels: Sequence[str],
    columns: int,
) -> Figure:
    rows = -(-len(views) // columns)
    width, height = max(columns, 4) * CELL_INCHES, (rows + 1) * (CELL_INCHES + 0.3) + 1
    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    above, below = figure.subfigures(2, height_ratios=[rows + 0.3, 1.2])
    for part, part_title, pictures, texts, part_rows in (
        (above, title, views, labels, rows),
        (below, second_title, plain, plain_labels, 1),
    ):
        part.suptitle(part_title, fontsize=9)
        cells = part.subplots(part_rows, columns, squeeze=False).ravel()
        for cell in cells[len(pictures) :]:
            cell.set_axis_off()
        for cell, picture, text in zip(cells, pictures, texts, strict=False):
            cell.imshow(picture, interpolation="nearest", vmin=0, vmax=1)
            cell.set(xticks=[], yticks=[])
            cell.set_xlabel(text, fontsize=6.5)
    return figure
