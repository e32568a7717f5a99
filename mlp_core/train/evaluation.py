"""Exact evaluation: counts every example once, for any batch size and number of devices."""

import functools
from collections.abc import Callable, Mapping

import jax
from clu import metrics
from jax.sharding import Mesh

from mlp_core.data.pipeline import eval_batches
from mlp_core.data.sources import Source
from mlp_core.distributed.mesh import put_batch, rows_of_this_host
from mlp_core.errors import UserError
from mlp_core.process.console import say
from mlp_core.process.watchdog import waits_for


def evaluate_splits(
    eval_step: Callable,
    params,
    sources: Mapping[str, Source],
    global_batch_size: int,
    mesh: Mesh,
) -> dict[str, float]:
    """Returns the metrics of `evaluate` over several splits, by names such as `test/top1`."""
    return {
        f"{split}/{name}": value
        for split, source in sources.items()
        for name, value in evaluate(
            eval_step, params, split, source, global_batch_size, mesh
        ).items()
    }


def evaluate(
    eval_step: Callable, params, split: str, source: Source, global_batch_size: int, mesh: Mesh
) -> dict[str, float]:
    """Returns metrics over all of `source`; reports how many examples of `split` were skipped.

    `eval_step(params, batch)` returns a `clu.metrics.Collection` that weights rows by the batch's
    mask. Sums are added over batches and divided once, at the end.

    Raises:
        UserError: no example, or too few of them, could be read.
    """
    waits_for(f"the first batch of {split}")
    total, scored = None, 0
    rows = rows_of_this_host(global_batch_size, mesh)
    for i, batch in enumerate(eval_batches(source, global_batch_size, rows)):
        waits_for(f"batch {i} of {split}, or the next")
        batch = put_batch(batch, mesh)
        more = eval_step(params, batch)
        jax.block_until_ready(total)  # Stays one batch ahead of the device, not the whole split.
        total = more if total is None else _merge_of(type(total))(total, more)
        scored += batch["mask"].sum()
    left_out = len(source) - int(scored)
    if left_out == len(source):
        raise UserError(f"{split}: not one of {left_out:,} examples could be read.")
    if left_out:
        say(
            f"{split}: scored on {int(scored):,} of {len(source):,} examples; {left_out:,} "
            "could not be read"
        )
    return {name: float(value) for name, value in total.compute().items()}


@functools.cache
def _merge_of(collection: type[metrics.Collection]) -> Callable:
    """Returns a function that merges two collections of this class in its own jitted program.

    JAX 0.10 to 0.12 treat two dataclasses with the same number of fields as equal, and sometimes
    return one for the other.
    """
    return jax.jit(lambda total, more: total.merge(more))
