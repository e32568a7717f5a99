"""The interface between a task (such as image classification) and the training loop."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import clu.metrics
import jax

from mlp_core.data.sources import Source

Params = Mapping[str, Any]
Batch = Mapping[str, jax.Array]


class Task(Protocol):
    """Model, data, loss and metrics of one kind of problem.

    A batch is a dictionary of arrays with the same leading length B. In evaluation it has a
    `mask`, float32 [B], zero in rows that pad the last batch or could not be read.
    """

    train_source: Source
    eval_sources: Mapping[str, Source]
    tensor_parallel: Sequence[str]  # Rules of the layout "tensor", in the form of config.sharding.

    def init_params(self, rng: jax.Array) -> Params:
        """Returns random initial parameters, float32."""

    def published_params(self) -> Params | None:
        """Returns parameters from a weight file as numpy arrays, or None for random initialization.

        Blocks are named separately, even if those of `init_params` are stacked.
        """

    def augment(self, batch: Batch, rng: jax.Array) -> Batch:
        """Converts a host batch to model input, with augmentation; runs inside the jitted step."""

    def loss(self, params: Params, batch: Batch, rng: jax.Array) -> tuple[jax.Array, dict]:
        """Returns the mean loss over an augmented batch, and further scalars to log."""

    def evaluate(self, params: Params, batch: Batch) -> clu.metrics.Collection:
        """Returns metrics of a host batch, each row weighted by `mask`."""
