"""Where a run starts: its own checkpoint, else published weights, else random parameters."""

import jax

from mlp_core.agreement import check_same_digest
from mlp_core.checkpoint import Checkpoints
from mlp_core.console import say
from mlp_core.parameters import digest
from mlp_core.programs import Programs
from mlp_core.stacked_blocks import in_layout_of
from mlp_core.task import Task
from mlp_core.train_state import TrainState


def initial_state(
    task: Task, seed: int, programs: Programs, checkpoints: Checkpoints
) -> TrainState:
    """The state to go on from, on the devices; says in one line which it is.

    Raises:
        UserError: no checkpoint is whole, or it or the weight file does not fit the model.
    """
    state = checkpoints.load_newest(programs.abstract_state)
    if state is not None:
        return state
    published = task.published_params()
    if published is not None:
        check_same_digest("config.init.weights", lambda: digest(published))
        params = in_layout_of(programs.abstract_state.params, published)
        return programs.create(params)
    say(f"Start: random parameters, seed {seed}")
    return programs.create_random(jax.random.key(seed))
