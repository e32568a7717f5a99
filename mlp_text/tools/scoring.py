"""What any weights score on any split or corpus: every example counted once."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
from ml_collections import ConfigDict

from mlp_core.config import parse_config
from mlp_core.distributed.agreement import check_same_digest, first_host_first
from mlp_core.distributed.mesh import check_batch_size, make_mesh, put_whole, replicated
from mlp_core.errors import UserError
from mlp_core.nn.parameters import digest
from mlp_core.nn.precision import check_finite_outputs, compute_dtype
from mlp_core.process.compilation import compiler_options
from mlp_core.process.console import say
from mlp_core.process.watchdog import limited
from mlp_core.run_folder.metrics import in_words
from mlp_core.train.evaluation import evaluate
from mlp_core.train.log import CompiledAtFirst
from mlp_text.tasks.config import TextConfig
from mlp_text.tasks.experiment import DATA
from mlp_text.weights.loading import locate_text_weights, open_text_weights, spec_for
from mlp_text.weights.pretrained import load_params


def score(
    config: ConfigDict, source: str, fields_set: Mapping[str, Any], splits: Mapping[str, str]
) -> dict[str, float]:
    """Evaluates weights on splits of the configured data and says what each scores.

    The model, its tokenizer and its length are those of the weights, whatever model the
    configuration trains; `data.max_length` is another length where it is among `fields_set`.

    Args:
      config: an experiment; it gives task, data, batch size and arithmetic.
      source: the folder of a run, or a BERT; see `locate_text_weights`.
      fields_set: fields that hold whatever the weights say.
      splits: splits, or corpora, by the name under which they are told.

    Returns metrics by name, such as `validation/accuracy`.

    Raises:
        UserError: weights or data cannot be had, or do not go together.
    """
    settings = parse_config(TextConfig, config)
    for field in fields_set:
        if field.startswith(("model.", "tokenizer.", "bert.")):
            raise UserError(f"config.{field}: that is as in the weights; leave it unset.")
    batch_size, mesh = settings.evaluation.global_batch_size, make_mesh()
    check_batch_size("config.evaluation.global_batch_size", batch_size, mesh)
    with first_host_first("preparation of data and weights"):
        data = DATA[settings.task].open(settings, {f"split {n}": s for n, s in splits.items()})
        weights = open_text_weights(locate_text_weights(source))
    data = data.for_model(source, weights.spec)
    tokenizer = weights.tokenizer()
    spec = spec_for(weights, tokenizer)
    if "data.max_length" in fields_set:
        encoder = dataclasses.replace(spec.encoder, max_length=settings.data.max_length)
        spec = dataclasses.replace(spec, encoder=encoder)
    model = spec.create_model(compute_dtype(settings.train.compute_dtype))
    params = load_params(weights, spec)
    check_same_digest("weights", lambda: digest(params))
    params = put_whole(params, mesh)
    step = jax.jit(
        data.eval_step(spec, model, tokenizer),
        out_shardings=replicated(mesh),
        compiler_options=compiler_options(mesh),
    )
    step = CompiledAtFirst(step, "the evaluation step")
    results = {}
    for name, split in splits.items():
        examples = data.source(split, tokenizer, spec.max_length)
        check_same_digest(f"split {split}", examples.digest)
        with limited(60 * settings.train.stall_limit):
            metrics = evaluate(step, params, name, examples, batch_size, mesh)
        check_finite_outputs(metrics["loss"])
        scores = {f"{name}/{metric}": value for metric, value in metrics.items()}
        say(f"{split} ({len(examples):,} examples): {in_words(scores)}, loss {metrics['loss']:.4f}")
        results |= scores
    return results
