"""The accuracy of any weights on any split: every example counted once."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
from ml_collections import ConfigDict

from mlp_core.config import parse_config
from mlp_core.console import say
from mlp_core.errors import UserError
from mlp_core.evaluation import evaluate
from mlp_core.mesh import check_batch_size, make_mesh, replicated
from mlp_core.precision import compute_dtype
from mlp_vision.classification import score_batch
from mlp_vision.config import ImageClassificationConfig
from mlp_vision.datasets.image_dataset import (
    ImageDataset,
    check_split,
    open_image_dataset,
    open_source,
)
from mlp_vision.host_views import EvalView
from mlp_vision.model_spec import ModelSpec
from mlp_vision.pretrained import load_params
from mlp_vision.published_weights import locate_weights, spec_before_fetching
from mlp_vision.wanted_model import NUMERIC_FIELDS
from mlp_vision.weights import open_weights

IMAGE_SIZE_FIELD = "data.image_size"


def score(
    config: ConfigDict, source: str, fields_set: Mapping[str, Any], splits: Mapping[str, str]
) -> dict[str, float]:
    """Evaluates weights on splits of the configured data set and says what each scores.

    The model and its numerics are those of the weights, whatever model the configuration trains.

    Args:
      config: an experiment; it gives data set, batch size and arithmetic.
      source: weights, see `published_weights.locate_weights`.
      fields_set: fields that hold whatever the weights say, such as {"data.image_size": 448}.
      splits: TFDS splits by the name under which they are told.

    Returns metrics by name, such as `test/top1`.

    Raises:
        UserError: weights or data cannot be had, or are not for the same classes.
    """
    settings = parse_config(ImageClassificationConfig, config)
    batch_size, mesh = settings.evaluation.global_batch_size, make_mesh()
    check_batch_size("config.evaluation.global_batch_size", batch_size, mesh)
    wanted = {field: fields_set.get(place) for field, place in NUMERIC_FIELDS.items()}
    wanted["image_size"] = fields_set.get(IMAGE_SIZE_FIELD)
    if known := spec_before_fetching(source, settings.init.mirror):
        known.adapted(**wanted)
    weights = open_weights(locate_weights(source, settings.init.mirror))
    spec = weights.spec.adapted(**wanted)
    dataset = open_image_dataset(settings.data.name, settings.data.data_dir)
    for name, split in splits.items():
        check_split(f"split {name}", dataset, split)
    check_classes(source, spec, dataset)

    model = spec.create_model(compute_dtype(settings.train.compute_dtype))
    params = jax.device_put(load_params(weights, spec, "keep"), replicated(mesh))
    step = functools.partial(score_batch, spec, model, not dataset.in_memory)
    step = jax.jit(step, out_shardings=replicated(mesh))
    view, results = EvalView(spec.image_size, spec.eval_preset), {}
    for name, split in splits.items():
        examples = open_source(dataset, split, view)
        metrics = evaluate(step, params, name, examples, batch_size, mesh)
        results |= {f"{name}/{metric}": value for metric, value in metrics.items()}
        say(
            f"{dataset.name} {name} ({split}, {len(examples):,} pictures): "
            f"top-1 {100 * metrics['top1']:.2f} %, top-5 {100 * metrics['top5']:.2f} %, "
            f"loss {metrics['loss']:.4f}; {spec.preprocessing()}"
        )
    return results


def check_classes(source: str, spec: ModelSpec, dataset: ImageDataset) -> None:
    """Refuses weights whose logits do not stand for the classes of the data set.

    Raises:
        UserError: says how they differ.
    """
    there, wanted = list(spec.class_names), list(dataset.class_names)
    if there and there != wanted and _are_names(there) and _are_names(wanted):
        odd = next((name for name in wanted if name not in there), None)
        how = f"{odd!r} is none of theirs" if odd else f"theirs are {len(there):,}, in this order"
        raise UserError(
            f"{source}: these weights are not for the classes of {dataset.name}: {how}."
        )
    if spec.num_classes != len(wanted) and there != wanted:
        raise UserError(
            f"{source}: these weights have a head of {spec.num_classes:,} classes, {dataset.name} "
            f"has {len(wanted):,}; fine-tune them, or name weights for these classes."
        )


def _are_names(names: list[str]) -> bool:
    """Whether classes have names, not only numbers."""
    return names != [str(i) for i in range(len(names))]
