"""A run as far as its programs need to know it: a task without data, and the shapes of batches."""

import dataclasses
from collections.abc import Mapping

import jax
import numpy as np
from jax.sharding import Mesh

from mlp_core.config import RunConfig
from mlp_core.errors import UserError
from mlp_core.mesh import batch_sharding
from mlp_core.plan import Plan
from mlp_core.task import Task

Examples = Mapping[str, jax.ShapeDtypeStruct]  # What one example is, by feature.


@dataclasses.dataclass(frozen=True)
class CountedExamples:
    """A source of which only the length is known."""

    count: int

    def __len__(self) -> int:
        """Number of examples."""
        return self.count


@dataclasses.dataclass(frozen=True)
class PaperFigures:
    """What a paper tells of the same model or run, on TPU v3."""

    examples_per_core_second: float | None = None  # Of the forward pass.
    core_days: float | None = None  # Of the whole training.


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """A run to plan."""

    settings: RunConfig
    task: Task
    title: str  # The model and its data, in words.
    unit: str  # What an example is, in the plural: "images".
    num_examples: int | None  # To train on; None where that is not known.
    train_example: Examples
    eval_example: Examples
    paper: PaperFigures = PaperFigures()

    def plan(self) -> Plan:
        """Its durations in steps.

        Raises:
            UserError: they depend on the number of examples, and it is not known.
        """
        try:
            return Plan.of(self.settings, self.num_examples)
        except TypeError:
            raise UserError(
                f"how long a run on {self.title} takes depends on how many examples there are to "
                "train on; say so with --num_examples."
            ) from None

    def train_batch(self, mesh: Mesh) -> Examples:
        """The shapes of a training batch on `mesh`."""
        return _batch(self.train_example, self.settings.train.global_batch_size, mesh)

    def eval_batch(self, mesh: Mesh) -> Examples:
        """The shapes of a batch of evaluation on `mesh`."""
        masked = self.eval_example | {"mask": jax.ShapeDtypeStruct((), np.float32)}
        return _batch(masked, self.settings.evaluation.global_batch_size, mesh)


def planned_dtype(name: str, platform: str) -> str:
    """What "auto" means on another device than that of this process; see `compute_dtype`."""
    if name != "auto":
        return name
    return "float32" if platform == "cpu" else "bfloat16"


def _batch(example: Examples, size: int, mesh: Mesh) -> Examples:
    sharding = batch_sharding(mesh)
    return {
        name: jax.ShapeDtypeStruct((size, *leaf.shape), leaf.dtype, sharding=sharding)
        for name, leaf in example.items()
    }
