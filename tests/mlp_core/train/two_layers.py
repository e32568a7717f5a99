"""A regression by an MLP of two layers: the smallest task whose parameters can be split."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from mlp_core.data.sources import ArraySource
from mlp_core.nn import gmlp as gmlp_block
from tests.mlp_core.train.quadratic import Quadratic

WIDTH, HIDDEN = 32, 128


def _source(length: int) -> ArraySource:
    rows = np.random.default_rng(1).standard_normal((length, WIDTH), np.float32)
    return ArraySource({"x": rows})


@dataclasses.dataclass(frozen=True)
class TwoLayers(Quadratic):
    """Learns to turn a row round."""

    tensor_parallel = gmlp_block.TENSOR_PARALLEL

    train_source: ArraySource = dataclasses.field(default_factory=lambda: _source(56))
    eval_sources: dict = dataclasses.field(default_factory=lambda: {"test": _source(13)})

    def init_params(self, rng):
        first, second = jax.random.split(rng)
        return {
            "block": {
                "project_in": {
                    "kernel": jax.random.normal(first, (WIDTH, HIDDEN)) / WIDTH**0.5,
                    "bias": jnp.zeros(HIDDEN),
                },
                "project_out": {"kernel": jax.random.normal(second, (HIDDEN, WIDTH)) / HIDDEN},
            }
        }

    def _losses(self, params, batch):
        block = params["block"]
        hidden = batch["x"] @ block["project_in"]["kernel"] + block["project_in"]["bias"][None]
        out = jax.nn.gelu(hidden) @ block["project_out"]["kernel"]
        return 0.5 * jnp.square(out - batch["x"][:, ::-1]).mean(-1)
