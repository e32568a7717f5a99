"""Metrics of a whole split, whatever was evaluated before in the same process."""

import flax.struct
import jax.numpy as jnp
import numpy as np
from clu import metrics

from mlp_core.data.sources import ArraySource
from mlp_core.distributed.mesh import make_mesh
from mlp_core.train.evaluation import evaluate


def step_of(name):
    """An evaluation with one metric, the mean of the rows, in a class of its own."""
    fields = {"__annotations__": {name: metrics.Average.from_output(name)}}
    collection = flax.struct.dataclass(type("Metrics", (metrics.Collection,), fields))

    def step(_, batch):
        mask = jnp.asarray(batch["mask"], bool)
        return collection.single_from_model_output(**{name: batch["x"], "mask": mask})

    return step


def test_metrics_keep_their_names_whatever_was_evaluated_before():
    source = ArraySource({"x": np.arange(13, dtype=np.float32)})
    for i in range(50):
        told = evaluate(step_of(f"mean_{i}"), None, "test", source, 8, make_mesh())
        assert told == {f"mean_{i}": 6.0}
