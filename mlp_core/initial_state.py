"""Where a run starts: its own checkpoint, else published weights, else random parameters."""

import jax

from mlp_core.checkpoint import Checkpoints
from mlp_core.console import say
from mlp_core.programs import Programs
from mlp_core.task import Task
from mlp_core.train_step import TrainState


def initial_state(
    task: Task, seed: int, programs: Programs, checkpoints: Checkpoints
) -> TrainState:
    """The state to go on from, on the devices; says in one line which it is.

    Raises:
        UserError: the checkpoint or the weight file does not fit the model.
    """
    step = checkpoints.latest_step
    if step is not None:
        say(f"Start: goes on from step {step:,}, {checkpoints.path(step)}")
        return checkpoints.load(step, programs.abstract_state)
    published = task.published_params()
    if published is not None:
        return programs.create(published)
    say(f"Start: random parameters, seed {seed}")
    return programs.create_random(jax.random.key(seed))
