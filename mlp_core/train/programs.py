"""The programs of a run on a mesh: state initialization, training step and evaluation.

Nothing is compiled here and no device needs to exist: programs can be compiled ahead of time for a
mesh of device descriptions.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import optax
from jax.sharding import Mesh

from mlp_core.checkpoints.train_state import TrainState
from mlp_core.config import RunConfig
from mlp_core.distributed.mesh import make_mesh, replicated
from mlp_core.distributed.sharding import ParameterPlacement, state_shardings
from mlp_core.nn.parameters import flatten
from mlp_core.process.compilation import compiler_options
from mlp_core.train.durations import Plan
from mlp_core.train.optimizer import (
    StepNumbers,
    check_rate_factors,
    check_schedule,
    check_weight_decay,
    make_optimizer,
    make_schedule,
)
from mlp_core.train.step import Scalars, make_train_step
from mlp_core.train.task import Batch, Task


def check_parameters(
    settings: RunConfig,
    params: Mapping[str, Any],
    tensor_parallel: Sequence[str],
    mesh: Mesh | None = None,
) -> ParameterPlacement:
    """Checks that patterns match parameters and that the sharding fits.

    Args:
      settings: the experiment.
      params: arrays or shapes of the parameters, by name.
      tensor_parallel: see `Task`.
      mesh: the devices to shard over; by default all available devices.

    Returns the sharding of each parameter.

    Raises:
        UserError: names the field.
    """
    check_weight_decay(settings.optimizer, params)
    check_rate_factors(settings.optimizer, params)
    mesh = mesh or make_mesh(settings.sharding.model_parallel)
    placement = ParameterPlacement(settings.sharding, tensor_parallel, mesh)
    placement.check(params)
    return placement


@dataclasses.dataclass(frozen=True)
class Programs:
    """The jitted functions of a run and their inputs."""

    mesh: Mesh
    abstract_state: TrainState  # Shapes, types and shardings.
    create_random: Callable[[jax.Array], TrainState]  # From a random key.
    create: Callable[[Any], TrainState]  # From parameters.
    # (state, numbers, batch) -> (state, scalars); donates `state`.
    train_step: Any
    numbers: StepNumbers
    eval_step: Any  # (parameters, batch) -> metrics


def make_programs(task: Task, config: RunConfig, plan: Plan, mesh: Mesh) -> Programs:
    """Builds the programs of a run of `task`, without reading its data.

    The state is created sharded, never on one device first.

    Raises:
        UserError: the schedule does not fit the run, or `check_parameters` fails.
    """
    check_schedule(config.schedule, plan.total, plan.warmup)

    def update_rule(numbers: StepNumbers) -> tuple[optax.GradientTransformation, optax.Schedule]:
        rates = numbers.peak_learning_rate, numbers.final_learning_rate
        schedule = make_schedule(config.schedule, plan.total, plan.warmup, *rates)
        return make_optimizer(config.optimizer, schedule, numbers.weight_decay), schedule

    def train_step(
        state: TrainState, numbers: StepNumbers, batch: Batch
    ) -> tuple[TrainState, Scalars]:
        step = make_train_step(
            task,
            *update_rule(numbers),
            key=jax.random.wrap_key_data(numbers.key),
            grad_accum_steps=config.train.grad_accum_steps,
            ema_decay=numbers.ema_decay,
            rate_factors=config.optimizer.rate_factors,
        )
        return step(state, batch)

    numbers = StepNumbers.of(config)
    optimizer, _ = update_rule(numbers)

    def create(params) -> TrainState:
        return TrainState.create(params, optimizer, ema=config.train.ema_decay > 0)

    def create_random(rng: jax.Array) -> TrainState:
        return create(task.init_params(rng))

    abstract = jax.eval_shape(create_random, jax.random.key(config.seed))
    placement = check_parameters(config, flatten(abstract.params), task.tensor_parallel, mesh)
    shardings = state_shardings(abstract, abstract.params, placement)
    whole, options = replicated(mesh), compiler_options(mesh)
    return Programs(
        mesh=mesh,
        abstract_state=jax.tree.map(
            lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            abstract,
            shardings,
        ),
        create_random=jax.jit(create_random, out_shardings=shardings),
        create=jax.jit(create, out_shardings=shardings),
        train_step=jax.jit(
            train_step,
            donate_argnums=0,
            out_shardings=(shardings, whole),
            compiler_options=options,
        ),
        numbers=numbers,
        eval_step=jax.jit(task.evaluate, out_shardings=whole, compiler_options=options),
    )
