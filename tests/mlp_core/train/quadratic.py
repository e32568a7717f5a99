"""The smallest task there is: fit a vector to the rows of a batch, with a known optimum."""

import dataclasses

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from clu import metrics

from configs import run_fields
from mlp_core.config import RunConfig, parse_config
from mlp_core.data.sources import ArraySource


@flax.struct.dataclass
class Metrics(metrics.Collection):
    loss: metrics.Average.from_output("loss")
    top1: metrics.Average.from_output("top1")


def _source(length: int) -> ArraySource:
    rows = np.random.default_rng(0).standard_normal((length, 3), np.float32)
    return ArraySource({"x": rows})


@dataclasses.dataclass(frozen=True)
class Quadratic:
    """Loss: half the squared distance; `top1` is minus the loss, so that larger is better."""

    tensor_parallel = ()

    train_source: ArraySource = dataclasses.field(default_factory=lambda: _source(40))
    eval_sources: dict = dataclasses.field(default_factory=lambda: {"test": _source(13)})
    noise: float = 0.1

    def init_params(self, rng):
        return {"layer": {"kernel": jax.random.normal(rng, (3,))}}

    def published_params(self):
        return None

    def augment(self, batch, rng):
        return {"x": batch["x"] + self.noise * jax.random.normal(rng, batch["x"].shape)}

    def loss(self, params, batch, rng):
        return self._losses(params, batch).mean(), {}

    def evaluate(self, params, batch):
        losses = self._losses(params, batch)
        return Metrics.single_from_model_output(
            loss=losses, top1=-losses, mask=batch["mask"].astype(bool)
        )

    def _losses(self, params, batch):
        return 0.5 * jnp.square(params["layer"]["kernel"][None] - batch["x"]).sum(-1)


class Interrupt(Exception):
    pass


class StopsAt(ArraySource):
    """Raises in mid-run, as a reader of batches would see a disk fail."""

    def __init__(self, source, batches):
        self.source, self.left = source, batches

    def __len__(self):
        return len(self.source)

    def gather(self, indices, draws=None):
        self.left -= 1
        if self.left < 0:
            raise Interrupt
        return self.source.gather(indices, draws)


def settings(**changes) -> RunConfig:
    """A run of twelve steps that evaluates and saves every four."""
    config = run_fields.new_config("quadratic", best_metric="test/top1")
    config.train.duration = "12 steps"
    config.train.global_batch_size = 8
    config.evaluation.global_batch_size = 8
    config.evaluation.every = "4 steps"
    config.checkpoint.every = "4 steps"
    config.log.every = "2 steps"
    config.optimizer.name = "sgd"
    config.schedule.peak_learning_rate = 0.3
    config.update_from_flattened_dict(changes)
    return parse_config(RunConfig, config)
