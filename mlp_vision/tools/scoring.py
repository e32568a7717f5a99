"""Scores any weights on any split, counting every example once."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
from ml_collections import ConfigDict

from mlp_core.distributed.agreement import check_same_digest
from mlp_core.distributed.mesh import replicated
from mlp_core.nn.precision import check_finite_outputs
from mlp_core.process.compilation import compiler_options
from mlp_core.process.console import say
from mlp_core.process.watchdog import limited
from mlp_core.train.evaluation import evaluate
from mlp_core.train.log import CompiledAtFirst
from mlp_vision.models.model_spec import ModelSpec
from mlp_vision.tasks.classification import score_batch
from mlp_vision.tasks.model_from_config import numeric_places
from mlp_vision.tools.inference import open_inference


def score(
    config: ConfigDict, source: str, fields_set: Mapping[str, Any], splits: Mapping[str, str]
) -> dict[str, float]:
    """Evaluates weights on splits of the configured dataset and prints the scores.

    The model and its numerics are those of the weights, not of the config.

    Args:
      config: an experiment, for its dataset, batch size and dtype.
      source: weights, see `published_weights.locate_weights`.
      fields_set: fields that override the weights' own, such as {"data.image_size": 448}.
      splits: TFDS splits by the name to report them under.

    Returns metrics by name, such as `test/top1`; with `config.data.real_labels` also
    `test/top1_real`, for a split of ImageNet's validation images.

    Raises:
        UserError: weights or data are unavailable, or their classes differ.
    """

    def adapt(spec: ModelSpec) -> ModelSpec:
        places = numeric_places(type(spec)) | {"image_size": "data.image_size"}
        return spec.adapted(**{field: fields_set.get(place) for field, place in places.items()})

    inference = open_inference(config, source, splits.values(), adapt)
    spec, model, dataset = inference.spec, inference.model, inference.dataset
    step = functools.partial(score_batch, spec, model, not dataset.in_memory)
    mesh = inference.mesh
    step = jax.jit(step, out_shardings=replicated(mesh), compiler_options=compiler_options(mesh))
    step = CompiledAtFirst(step, "the evaluation step")
    results = {}
    for name, split in splits.items():
        examples = inference.source(split)
        if inference.real_labels:
            examples = inference.real_labels.beside(examples, dataset, split)
        check_same_digest(f"split {split}", examples.digest)
        with limited(60 * config.train.stall_limit):
            metrics = evaluate(
                step, inference.params, name, examples, inference.batch_size, inference.mesh
            )
        check_finite_outputs(metrics["loss"])
        results |= {f"{name}/{metric}": value for metric, value in metrics.items()}
        say(
            f"{dataset.name} {name} ({split}, {len(examples):,} pictures): "
            f"{_in_words(metrics)}, loss {metrics['loss']:.4f}; {spec.preprocessing()}"
        )
    return results


def _in_words(metrics: Mapping[str, float]) -> str:
    """Formats the accuracies of a split: "top-1 76.44 %, top-5 92.23 %"."""
    words = {"top1": "top-1", "top5": "top-5", "top1_real": "ReaL top-1"}
    return ", ".join(
        f"{word} {100 * metrics[name]:.2f} %" for name, word in words.items() if name in metrics
    )
