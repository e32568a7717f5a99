"""What a run executes on a mesh: how the state is made, the training step, the evaluation.

Nothing is compiled here and no device need exist: the programs of a mesh of described devices can
be compiled ahead of time.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from jax.sharding import Mesh

from mlp_core.compiler_options import compiler_options
from mlp_core.config import RunConfig
from mlp_core.mesh import make_mesh, replicated
from mlp_core.optimizer import check_weight_decay, make_optimizer, make_schedule
from mlp_core.parameters import flatten
from mlp_core.plan import Plan
from mlp_core.rate_factors import check_rate_factors
from mlp_core.sharding import ParameterPlacement, state_shardings
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
        UserError: the warm-up does not fit the run, or as `check_parameters`.
    """
    schedule = make_schedule(config.schedule, plan.total, plan.warmup)
    optimizer = make_optimizer(config.optimizer, schedule)

    def create(params) -> TrainState:
        return TrainState.create(params, optimizer, ema=config.train.ema_decay > 0)

    def create_random(rng: jax.Array) -> TrainState:
        return create(task.init_params(rng))

    abstract = jax.eval_shape(create_random, jax.random.key(config.seed))
    check_parameters(config, flatten(abstract.params), task.tensor_parallel, mesh)
    placement = ParameterPlacement(config.sharding, task.tensor_parallel, mesh)
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


def check_parameters(
    settings: RunConfig,
    params: Mapping[str, Any],
    tensor_parallel: Sequence[str],
    mesh: Mesh | None = None,
) -> None:
    """Refuses patterns that match no parameter, and a sharding that does not fit.

    Args:
      settings: the experiment.
      params: what has the parameters' shapes, by name.
      tensor_parallel: see `Task`.
      mesh: of other devices than those there are.

    Raises:
        UserError: names the field.
    """
    check_weight_decay(settings.optimizer, params)
    check_rate_factors(settings.optimizer, params)
    mesh = mesh or make_mesh(settings.sharding.model_parallel)
    ParameterPlacement(settings.sharding, tensor_parallel, mesh).check(params)
