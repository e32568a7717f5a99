"""Where a run starts: its own checkpoint, else published weights, else random parameters."""

import jax

from mlp_core.checkpoints.save import Checkpoints
from mlp_core.checkpoints.train_state import TrainState
from mlp_core.distributed.agreement import check_same_digest
from mlp_core.nn.parameters import digest
from mlp_core.nn.stacked_blocks import in_layout_of
from mlp_core.process.console import say
from mlp_core.train.programs import Programs
from mlp_core.train.task import Task


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
