"""A run in its directory, from a prepared task to the final report."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mlp_core.config import RunConfig
from mlp_core.errors import UserError
from mlp_core.nn.parameters import count
from mlp_core.process.console import say
from mlp_core.process.files import full_disk_told
from mlp_core.run_folder.metrics import in_words
from mlp_core.run_folder.run_directory import (
    RunFiles,
    check_run_directory,
    locked,
    note_environment,
    read_finished_results,
    save_config,
    save_results,
    write_on_first_host,
)
from mlp_core.train import loop as train_loop
from mlp_core.train.durations import Plan
from mlp_core.train.programs import check_parameters
from mlp_core.train.task import Task


def run_task(
    task: Task,
    settings: RunConfig,
    config: ConfigDict,
    workdir: Path,
    files: Mapping[str, str],
    next_steps: str,
    profile: bool = False,
) -> dict[str, float]:
    """Trains `task` in `workdir`, resuming if possible, and prints where the results are.

    Args:
      task: the task to train.
      settings: the validated configuration.
      config: the same as given by the user, saved in the directory.
      workdir: the directory of the run.
      files: additional texts to save in the directory, such as {"model.json": ...}.
      next_steps: suggestions printed after the run.
      profile: whether a trace of a few steps is written.

    Returns the last evaluation's metrics by name, such as `test/top1`.

    Raises:
        UserError: `workdir` is in use by or holds another run; or see `train_loop.train`.
    """
    with locked(workdir), full_disk_told(workdir):
        # Checked again, since another run may have just ended here; the data were compared before.
        check_run_directory(workdir, config, allow_changed_data=True)
        save_config(workdir, config)
        note_environment(workdir)
        for name, text in files.items():
            write_on_first_host(workdir / name, text)
        results = train_loop.train(task, settings, workdir, profile)
        # A finished run that is evaluated again on fewer splits keeps its earlier results.
        save_results(workdir, (read_finished_results(workdir) or {}) | results)
    places = RunFiles.of(workdir)
    say(
        f"\nDone: {in_words(results)}\n"
        f"Checkpoints  {places.checkpoints}\n"
        f"Metrics      {places.metrics}\n"
        f"TensorBoard  {places.tensorboard} (pip install tensorboard; tensorboard --logdir=...)\n"
        f"Next: {next_steps}"
    )
    return results


def tell_dry_run(
    settings: RunConfig,
    params: Mapping[str, Any],
    tensor_parallel: Sequence[str],
    num_examples: int,
) -> None:
    """Prints that all checks passed, and the size of the model and the run.

    Args:
      settings: the experiment.
      params: arrays or shapes of the parameters, by name.
      tensor_parallel: see `Task`.
      num_examples: size of the training set.

    Raises:
        UserError: `check_parameters` fails.
    """
    check_parameters(settings, params, tensor_parallel)
    say(
        "Dry run: configuration, data and weights are in order: "
        f"{count(params):,} parameters, {Plan.of(settings, num_examples).total:,} steps of "
        f"{settings.train.global_batch_size:,} examples. Nothing was trained."
    )


def check_evaluation(
    settings: RunConfig, eval_splits: Iterable[str], metrics: Iterable[str]
) -> None:
    """Checks that a run has evaluations, and that their names and the best metric are valid.

    Args:
      settings: the experiment.
      eval_splits: the names of its evaluations.
      metrics: the metrics of each for which higher is better, such as `top1`.

    Raises:
        UserError: names the field.
    """
    splits, metrics = list(eval_splits), list(metrics)
    if not splits:
        raise UserError("config.data.eval_splits: there is none; name a split to evaluate.")
    for split in splits:
        if split == "train" or "/" in split:
            raise UserError(
                f"config.data.eval_splits.{split}: evaluation cannot be named so, since training "
                "metrics are; name it train_part, say."
            )
    names = [f"{split}/{metric}" for split in splits for metric in metrics]
    if settings.evaluation.best_metric not in names:
        raise UserError(
            f"config.evaluation.best_metric: {settings.evaluation.best_metric!r} is not measured, "
            f"or the less of it the better; choose from {', '.join(names)}."
        )
