"""A run as far as its programs need to know it: a task without data, and the shapes of batches."""

import dataclasses
from collections.abc import Mapping
from typing import TypeVar

import jax
import numpy as np
from jax.sharding import Mesh

from mlp_core.config import RunConfig
from mlp_core.data.splits import parts_of
from mlp_core.distributed.mesh import batch_sharding
from mlp_core.errors import UserError
from mlp_core.train.durations import Plan
from mlp_core.train.task import Task

S = TypeVar("S", bound=RunConfig)
Examples = Mapping[str, jax.ShapeDtypeStruct]  # What one example is, by feature.


@dataclasses.dataclass(frozen=True)
class CountedExamples:
    """A source of which only the length is known."""

    count: int

    def __len__(self) -> int:
        """Number of examples."""
        return self.count


@dataclasses.dataclass(frozen=True)
class KnownDataset:
    """Examples with one label each, in splits; their number and that of the classes."""

    name: str
    num_classes: int
    sizes: Mapping[str, int]  # Examples by split.

    @property
    def splits(self) -> list[str]:
        """The names of the splits."""
        return list(self.sizes)

    @property
    def class_names(self) -> list[str]:
        """None is known."""
        return []

    def num_examples(self, split: str) -> int:
        """How many examples a split such as "train[:98%]" has; ValueError if there is none."""
        parts = parts_of(split, self.sizes, self.sizes.get)
        return sum(len(range(self.sizes[name])[cut]) for name, cut in parts)


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
        settings = self.settings
        durations = {
            "train.duration": settings.train.duration,
            "schedule.warmup": settings.schedule.warmup,
            "evaluation.every": settings.evaluation.every,
            "checkpoint.every": settings.checkpoint.every,
            "log.every": settings.log.every,
        }
        for field, duration in durations.items():
            if self.num_examples is None and duration.unit == "epochs" and duration.amount:
                raise UserError(
                    f"config.{field}: how long an epoch is depends on how many examples there are "
                    "to train on; say so with --num_examples."
                )
        return Plan.of(settings, self.num_examples or 1)

    def train_batch(self, mesh: Mesh) -> Examples:
        """The shapes of a training batch on `mesh`."""
        return _batch(self.train_example, self.settings.train.global_batch_size, mesh)

    def eval_batch(self, mesh: Mesh) -> Examples:
        """The shapes of a batch of evaluation on `mesh`."""
        masked = self.eval_example | {"mask": jax.ShapeDtypeStruct((), np.float32)}
        return _batch(masked, self.settings.evaluation.global_batch_size, mesh)


def on_platform(settings: S, platform: str) -> S:
    """The settings with the type that "auto" means on devices which are not this process's."""
    train = settings.train
    if train.compute_dtype != "auto":
        return settings
    dtype = "float32" if platform == "cpu" else "bfloat16"
    return dataclasses.replace(settings, train=dataclasses.replace(train, compute_dtype=dtype))


def _batch(example: Examples, size: int, mesh: Mesh) -> Examples:
    sharding = batch_sharding(mesh)
    return {
        name: jax.ShapeDtypeStruct((size, *leaf.shape), leaf.dtype, sharding=sharding)
        for name, leaf in example.items()
    }
