"""Where a run starts: its own checkpoint, else published weights, else random parameters."""

import jax
import optax
from jax.sharding import Mesh

from mlp_core.checkpoint import Checkpoints
from mlp_core.config import RunConfig
from mlp_core.console import say
from mlp_core.mesh import replicated
from mlp_core.stacked_blocks import in_layout_of
from mlp_core.task import Task
from mlp_core.train_step import TrainState


def initial_state(
    task: Task,
    config: RunConfig,
    optimizer: optax.GradientTransformation,
    checkpoints: Checkpoints,
    mesh: Mesh,
) -> TrainState:
    """The state to go on from, replicated over the mesh; says in one line which it is.

    Nothing is built on one device first and moved after.

    Raises:
        UserError: the checkpoint or the weight file does not fit the model.
    """
    whole = replicated(mesh)
    keeps_ema = config.train.ema_decay > 0

    def create(params):
        return TrainState.create(params, optimizer, keeps_ema)

    def create_random(rng):
        return create(task.init_params(rng))

    rng = jax.random.key(config.seed)
    abstract = jax.eval_shape(create_random, rng)
    step = checkpoints.latest_step
    if step is not None:
        say(f"Start: goes on from step {step:,}, {checkpoints.path(step)}")
        placed = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=whole), abstract
        )
        return checkpoints.load(step, placed)
    published = task.published_params()
    if published is not None:
        params = in_layout_of(abstract.params, published)
        return jax.jit(create, out_shardings=whole)(params)
    say(f"Start: random parameters, seed {config.seed}")
    return jax.jit(create_random, out_shardings=whole)(rng)
