"""Image classification experiments: checks, fetches data and weights, then trains."""

import dataclasses
import operator
from pathlib import Path

import flax.linen as nn
from ml_collections import ConfigDict

from mlp_core.config import parse_config
from mlp_core.data.classes import assumed_order, names_for_labels
from mlp_core.data.sources import Source
from mlp_core.data.splits import check_splits
from mlp_core.distributed.agreement import first_host_first
from mlp_core.distributed.sharding import divisible_size
from mlp_core.errors import MissingError, UserError, noted
from mlp_core.nn.precision import compute_dtype
from mlp_core.process.console import say
from mlp_core.run_folder.run_directory import RunFiles, check_run_directory, has_checkpoint
from mlp_core.runs.run import check_evaluation, run_task, tell_dry_run
from mlp_core.train import loop as train_loop
from mlp_core.train.data_record import DataRecord, check_same_data, check_same_data_on_all_hosts
from mlp_core.train.durations import Plan
from mlp_core.train.optimizer import check_schedule
from mlp_core.train.programs import check_parameters
from mlp_vision.augment.policies import make_policy
from mlp_vision.data.host_views import EvalView, TrainView
from mlp_vision.data.image_dataset import ImageDataset, open_image_dataset, open_source
from mlp_vision.data.real_labels import RealLabels, open_real_labels
from mlp_vision.models.model_spec import ModelSpec
from mlp_vision.models.registry import TENSOR_PARALLEL
from mlp_vision.tasks.classification import ACCURACIES, ImageClassification
from mlp_vision.tasks.config import ImageClassificationConfig
from mlp_vision.tasks.model_from_config import departures, wanted_spec
from mlp_vision.weights.loading import Weights, expected_params, open_weights, read_spec
from mlp_vision.weights.pretrained import announcement, check_fit, check_sizes
from mlp_vision.weights.published_weights import locate_weights, spec_before_fetching

SETTINGS = ImageClassificationConfig
NEXT_STEPS = (
    "change any field with --config.FIELD=VALUE and another --workdir, or fine-tune Google's\n"
    "Mixer-B/16 with --config=configs/mixer_b16_cifar100.py (:smoke for two minutes)."
)


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A checked experiment, with its data and weights on this machine."""

    settings: ImageClassificationConfig
    dataset: ImageDataset
    spec: ModelSpec
    weights: Weights | None  # None: random, or resumed from a checkpoint.
    task: ImageClassification
    record: DataRecord


def prepare(config: ConfigDict, workdir: Path, allow_changed_data: bool = False) -> Prepared:
    """Checks the experiment, then fetches its data and weights.

    With `allow_changed_data`, a run may resume on different data.

    Raises:
        UserError: something in the config, the data or the weights is wrong or missing.
    """
    settings = parse_config(ImageClassificationConfig, config)
    check_run_directory(workdir, config, allow_changed_data)
    resumes, init = has_checkpoint(workdir), settings.init
    saved, start = read_spec(RunFiles.of(workdir).model) if resumes else None, None
    if init.weights and not resumes:
        start = spec_before_fetching(init.weights, init.mirror)
    check_before_fetching(settings, start, saved)
    real_labels = open_real_labels(settings.data.real_labels)
    dataset, weights_path = fetch(settings, needs_weights=not resumes)
    if real_labels:
        real_labels = real_labels.checked(dataset, settings.data.eval_splits.values())
    plan = Plan.of(settings, dataset.num_examples(settings.data.train_split))
    check_schedule(settings.schedule, plan.total, plan.warmup)
    weights = open_weights(weights_path) if weights_path else None
    if saved:
        dataset = _in_order_of_run(workdir, saved, dataset, allow_changed_data)
    elif weights and init.head != "reset" and _have_same_classes(weights.spec, dataset):
        dataset = dataset.with_classes(weights.spec.class_names)  # Keeps their head.
    spec = saved or wanted_spec(
        settings,
        weights.spec if weights else None,
        num_classes(settings, dataset),
        tuple(dataset.class_names),
    )
    if weights:
        keeps_head = check_fit(weights, spec, init.head)
        if keeps_head and (line := assumed_order(str(weights.path), weights.spec, dataset)):
            say(line)
        for line in departures(settings, weights.spec):
            say(line)
    task = build_task(settings, dataset, spec, weights, real_labels)
    record = DataRecord.of(task, dataset.class_names)
    check_same_data(workdir, record, config, allow_changed_data)
    return Prepared(settings, dataset, spec, weights, task, record)


def _in_order_of_run(
    workdir: Path, saved: ModelSpec, dataset: ImageDataset, allow_changed_data: bool
) -> ImageDataset:
    """Returns the dataset with its classes in the order saved by the run.

    Raises:
        UserError: the dataset has a class that the run does not have or, unless data may have
          changed, lacks one.
    """
    source = f"--workdir={workdir}"
    names = names_for_labels(source, saved, dataset)
    missing = set(names) - set(dataset.class_names)
    if missing and not allow_changed_data:
        raise UserError(
            f"{source}: the run has {len(names):,} classes, of which {dataset.name} has "
            f"{len(dataset.class_names):,}; {min(missing)!r} is missing."
        )
    if line := assumed_order(source, saved, dataset):
        say(line)
    return dataset.with_classes(names)


def _have_same_classes(start: ModelSpec, dataset: ImageDataset) -> bool:
    return sorted(start.class_names) == sorted(dataset.class_names)


def train(
    config: ConfigDict,
    workdir: Path,
    dry_run: bool = False,
    profile: bool = False,
    allow_changed_data: bool = False,
) -> dict[str, float]:
    """Runs the experiment in `workdir` and returns the last evaluation by metric name.

    Checks precede downloads, downloads precede compilation. A dry run ends before compilation.
    With `profile`, a trace of a few steps is written beside the TensorBoard events. With
    `allow_changed_data`, a run may resume on different data.

    Raises:
        UserError: something in the config, the data or the weights is wrong or missing.
    """
    with first_host_first("preparation of data and weights"):
        prepared = prepare(config, workdir, allow_changed_data)
    settings, spec, task = prepared.settings, prepared.spec, prepared.task
    num_examples = len(task.train_source)
    check_same_data_on_all_hosts(prepared.record, Plan.of(settings, num_examples).total)
    if dry_run:
        if prepared.weights:
            prepared.weights.check()
            if line := announcement(prepared.weights.spec, spec):
                say(line)
        params = expected_params(task.model, spec.image_size)
        tell_dry_run(settings, params, TENSOR_PARALLEL, num_examples)
        return {}
    files = RunFiles.of(workdir)
    texts = {files.model.name: spec.to_json() + "\n", files.data.name: prepared.record.to_json()}
    results = run_task(task, settings, config, workdir, texts, NEXT_STEPS, profile)
    if not prepared.dataset.in_memory and (summary := task.train_source.bad_pictures()):
        say(f"\n{summary}; others took their place")
    return results


def build_task(
    settings: ImageClassificationConfig,
    dataset: ImageDataset,
    spec: ModelSpec,
    weights: Weights | None = None,
    real_labels: RealLabels | None = None,
) -> ImageClassification:
    """Builds the task of a run: model, augmentation, loss, and the data of all splits.

    Raises:
        UserError: data cannot be read.
    """
    augment, data = settings.augment, settings.data
    policy = make_policy(augment.policy, augment.randaugment_layers, augment.randaugment_magnitude)
    train_view = TrainView(
        spec.image_size,
        augment.crop,
        augment.crop_min_area,
        augment.crop_padding,
        augment.crop_from,
        policy,
    )
    eval_view = EvalView(spec.image_size, spec.eval_preset)
    on_host = policy is not None or not dataset.in_memory

    def eval_source(split: str) -> Source:
        source = open_source(dataset, split, eval_view)
        return real_labels.beside(source, dataset, split) if real_labels else source

    return ImageClassification(
        spec=spec,
        model=build_model(settings, spec),
        train_views=augment,
        train_source=open_source(dataset, data.train_split, train_view, settings.seed, on_host),
        eval_sources={name: eval_source(split) for name, split in data.eval_splits.items()},
        train_views_on_host=on_host,
        eval_views_on_host=not dataset.in_memory,
        label_smoothing=settings.loss.label_smoothing,
        head_bias=settings.loss.head_bias,
        weights=weights,
        head=settings.init.head,
    )


def check_before_fetching(
    settings: ImageClassificationConfig, start: ModelSpec | None, saved: ModelSpec | None = None
) -> None:
    """Checks what can be checked before anything is fetched.

    Args:
      settings: the experiment.
      start: the initial weights, as far as known.
      saved: the model of the checkpoint to resume from.

    Raises:
        UserError: names the field.
    """
    train_loop.check_batch_sizes(settings)
    _check_crop(settings)
    if saved or start or not settings.init.weights:  # Otherwise the weights determine it.
        spec = saved or wanted_spec(settings, start, settings.model.num_classes or divisible_size())
        if start:
            check_sizes(f"config.init.weights: {settings.init.weights}", start, spec)
        expected = expected_params(build_model(settings, spec), spec.image_size)
        check_parameters(settings, expected, TENSOR_PARALLEL)
    check_evaluation(settings, settings.data.eval_splits, ACCURACIES)


def _check_crop(settings: ImageClassificationConfig) -> None:
    """Rejects a padding that could leave nothing of an image, and a crop larger than the image."""
    augment, size = settings.augment, settings.data.image_size
    padding = augment.crop_padding
    if augment.crop == "squash" and (augment.crop_from or 0) < size:
        raise UserError(
            f"config.augment.crop_from: {augment.crop_from} pixels a side hold no crop of {size}; "
            f"set it to {size} or more."
        )
    if augment.crop == "pad" and padding >= size:
        raise UserError(
            f"config.augment.crop_padding: a crop may lie in {padding} pixels of black, nothing of "
            f"a picture of {size} in it; {size - 1} at most."
        )


def fetch(
    settings: ImageClassificationConfig, needs_weights: bool
) -> tuple[ImageDataset, Path | None]:
    """Returns the dataset and weight file; downloads them if needed.

    Raises:
        MissingError: reports all missing files together.
        UserError: the dataset lacks a split named in the config.
    """
    data, dataset, weights, missing = settings.data, None, None, []
    with noted(missing):
        dataset = open_image_dataset(data.name, data.data_dir, data.label)
    with noted(missing):
        if settings.init.weights and needs_weights:
            weights = locate_weights(settings.init.weights, settings.init.mirror)
    if missing:
        missing.append("(configs/mixer_digits.py needs no download.)")
        raise MissingError("\n".join(missing))
    check_splits(dataset, data.train_split, data.eval_splits)
    return dataset, weights


def num_classes(settings: ImageClassificationConfig, dataset: ImageDataset) -> int:
    """Returns the width of the head: the dataset's classes, unless the config asks for more.

    Raises:
        UserError: the config asks for fewer.
    """
    wanted = settings.model.num_classes or dataset.num_classes
    if wanted < dataset.num_classes:
        raise UserError(
            f"config.model.num_classes: {wanted} is too few for {dataset.name}, which has "
            f"{dataset.num_classes} classes; leave it unset."
        )
    return wanted


def build_model(settings: ImageClassificationConfig, spec: ModelSpec) -> nn.Module:
    """Builds the model that the experiment trains.

    Raises:
        UserError: a field is not supported by this architecture.
    """
    fields = {
        "model.dropout_rate": 0.0,
        "model.stochastic_depth": 0.0,
        "model.stochastic_depth_rescaled": False,
        "train.scan_layers": False,
        "train.remat": "none",
    }
    training = {}
    for place, off in fields.items():
        name, value = place.split(".")[1], operator.attrgetter(place)(settings)
        if name in spec.MODULE.__dataclass_fields__:
            training[name] = value
        elif value != off:
            raise UserError(f"config.{place}: {spec.TITLE} has no such thing; leave it {off!r}.")
    return spec.create_model(compute_dtype(settings.train.compute_dtype), **training)
