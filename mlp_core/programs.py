"""What a run executes on a mesh: how the state is made, the training step, the evaluation.

Nothing is compiled here and no device need exist: the programs of a mesh of described devices can
be compiled ahead of time.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Mesh

from mlp_core.compiler_options import compiler_options
from mlp_core.config import RunConfig
from mlp_core.mesh import replicated
from mlp_core.optimizer import make_optimizer, make_schedule
from mlp_core.parameter_checks import check_parameters
from mlp_core.parameters import flatten
from mlp_core.plan import Plan
from mlp_core.sharding import state_shardings
from mlp_core.task import Task
from mlp_core.train_step import TrainState, make_train_step


@dataclasses.dataclass(frozen=True)
class Programs:
    """The jitted functions of a run and what they work on."""

    mesh: Mesh
    abstract_state: TrainState  # Shapes, types and shardings.
    create_random: Callable[[jax.Array], TrainState]  # From a random key.
    create: Callable[[Any], TrainState]  # From parameters.
    train_step: Any  # (state, batch) -> (state, scalars); the state that it is given is used up.
    eval_step: Any  # (parameters, batch) -> metrics


def make_programs(task: Task, config: RunConfig, plan: Plan, mesh: Mesh) -> Programs:
    """The programs of a run of `task`; its data are not looked at.

    The state is never whole on one device first and moved after.

    Raises:
        UserError: the schedule does not fit the run, or as `check_parameters`.
    """
    schedule = make_schedule(config.schedule, plan.total, plan.warmup)
    optimizer = make_optimizer(config.optimizer, schedule)

    def create(params) -> TrainState:
        return TrainState.create(params, optimizer, ema=config.train.ema_decay > 0)

    def create_random(rng: jax.Array) -> TrainState:
        return create(task.init_params(rng))

    abstract = jax.eval_shape(create_random, jax.random.key(config.seed))
    placement = check_parameters(config, flatten(abstract.params), task.tensor_parallel, mesh)
    shardings = state_shardings(abstract, abstract.params, placement)
    whole, options = replicated(mesh), compiler_options(mesh)
    train_step = make_train_step(
        task,
        optimizer,
        schedule,
        seed=config.seed,
        grad_accum_steps=config.train.grad_accum_steps,
        ema_decay=config.train.ema_decay,
        rate_factors=config.optimizer.rate_factors,
    )
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
        eval_step=jax.jit(task.evaluate, out_shardings=whole, compiler_options=options),
    )
