"""The --weights flag of the commands that take an experiment's own run by default."""

from pathlib import Path

from absl import flags

from mlp_core.errors import UserError

WEIGHTS = flags.DEFINE_string(
    "weights",
    None,
    "A run's folder, a file, a published name, hf://OWNER/NAME or a URL; by default the folder in "
    "which the config trains, runs/<name of the config file>.",
)


def weights_or_run(name: str) -> str:
    """The weights that are named, or the folder in which the experiment `name` trains.

    Raises:
        UserError: none are named, and it has not been trained there.
    """
    if WEIGHTS.value is not None:
        return WEIGHTS.value
    run = f"runs/{name}"
    if not Path(run).is_dir():
        raise UserError(f"there is no run in {run} yet; train it, or name --weights=...")
    return run
