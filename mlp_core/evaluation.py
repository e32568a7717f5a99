"""Exact evaluation: every example once, for any batch size and number of devices."""

from collections.abc import Callable, Mapping

import jax
from jax.sharding import Mesh

from mlp_core.array_source import ArraySource
from mlp_core.input_pipeline import eval_batches
from mlp_core.mesh import put_batch


def evaluate_splits(
    eval_step: Callable,
    params,
    sources: Mapping[str, ArraySource],
    global_batch_size: int,
    mesh: Mesh,
) -> dict[str, float]:
    """The metrics of `evaluate` over several splits, by names such as `test/top1`."""
    return {
        f"{split}/{name}": value
        for split, source in sources.items()
        for name, value in evaluate(eval_step, params, source, global_batch_size, mesh).items()
    }


def evaluate(
    eval_step: Callable, params, source: ArraySource, global_batch_size: int, mesh: Mesh
) -> dict[str, float]:
    """Metrics over the whole of `source`.

    `eval_step(params, batch)` returns a `clu.metrics.Collection` that weighs rows by the batch's
    mask. Sums are added over batches and divided once, at the end.
    """
    total = None
    for batch in eval_batches(source, global_batch_size):
        metrics = eval_step(params, put_batch(batch, mesh))
        jax.block_until_ready(total)  # One batch ahead of the device, not the whole split.
        total = metrics if total is None else total.merge(metrics)
    return {name: float(value) for name, value in total.compute().items()}
