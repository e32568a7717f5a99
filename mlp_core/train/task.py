"""What a task (image classification, say) supplies to the training engine."""

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
    `mask`, float32 [B], zero in the rows that only fill up the last batch or could not be read.
    """

    train_source: Source
    eval_sources: Mapping[str, Source]
    tensor_parallel: Sequence[str]  # Rules of the layout "tensor", as config.sharding has them.

    def init_params(self, rng: jax.Array) -> Params:
        """Random initial parameters, float32."""

    def published_params(self) -> Params | None:
        """Parameters from a weight file as numpy arrays, or None to start at random.

        Blocks have names of their own, also where those of `init_params` are stacked.
        """

    def augment(self, batch: Batch, rng: jax.Array) -> Batch:
        """Host batch to model input, with training's randomness; runs inside the jitted step."""

    def loss(self, params: Params, batch: Batch, rng: jax.Array) -> tuple[jax.Array, dict]:
        """Mean loss over an augmented batch, and further scalars to log."""

    def evaluate(self, params: Params, batch: Batch) -> clu.metrics.Collection:
        """Metrics of a host batch, each row weighed by `mask`."""
