"""The trained parameters in a run's directory, for use without training."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from mlp_core.checkpoints.save import SavedParams
from mlp_core.errors import UserError
from mlp_core.process.console import say
from mlp_core.run_folder.checkpoint_folder import STEP
from mlp_core.run_folder.run_directory import RunFiles, read_config, saved_steps
from mlp_core.weights.file_kinds import kind_of
from mlp_core.weights.sources import WEIGHTS_FILE

WEIGHT_SUFFIXES = (  # Names of weight files of other programs.
    *(".bin", ".ckpt", ".gguf", ".h5", ".hdf5", ".keras", ".msgpack", ".npz", ".onnx", ".pickle"),
    *(".pkl", ".pt", ".pt2", ".pth", ".safetensors", ".zip"),
)


@dataclasses.dataclass(frozen=True)
class SavedRun:
    """A run and one of its checkpoints; the arrays are not read yet."""

    workdir: Path
    step: int
    params: SavedParams

    @property
    def checkpoint(self) -> Path:
        """The directory of the checkpoint."""
        return RunFiles.of(self.workdir).checkpoints / str(self.step)

    @property
    def origin(self) -> str:
        """A readable description."""
        return f"run {self.workdir}, step {self.step:,}"


def open_saved_run(path: Path, tasks: Sequence[str]) -> SavedRun:
    """Opens the newest undamaged checkpoint of a run; reads names and shapes only.

    Args:
      path: the directory of a run, or of one of its checkpoints to open that one.
      tasks: the tasks that the run may have been trained for.

    Raises:
        UserError: there is no undamaged checkpoint, or the run was for another task.
    """
    workdir, steps = _run_and_steps(path)
    if not steps:
        raise UserError(
            f"{path}: neither the folder of a run with checkpoints in it, nor one with "
            f"{WEIGHTS_FILE}{_weights_inside(path)}."
        )
    _check_task(workdir, tasks)
    return SavedRun(workdir, *_newest_whole(RunFiles.of(workdir).checkpoints, steps))


def _run_and_steps(path: Path) -> tuple[Path, list[int]]:
    """Returns the directory of the run, and the steps to choose from."""
    if STEP.fullmatch(path.name) and path.parent.name == RunFiles.of(path).checkpoints.name:
        return path.parent.parent, [int(path.name)]
    return path, saved_steps(path)


def _weights_inside(folder: Path) -> str:
    """Names a weight file with another name or format in a directory, and what to do with it."""
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        if file.suffix in WEIGHT_SUFFIXES and file.is_file():
            kind = kind_of(file)
            return f"; {file.name!r} in it is {kind.description}: {kind.advice or 'name that file'}"
    return ""


def _check_task(workdir: Path, tasks: Sequence[str]) -> None:
    """Rejects a run of another task, if the run's configuration is available."""
    if not RunFiles.of(workdir).config.is_file():
        return
    task = read_config(workdir).get("task")
    if task not in tasks:
        raise UserError(f"{workdir}: a run of {task}; {' or '.join(tasks)} is needed here.")


def _newest_whole(checkpoints: Path, steps: Sequence[int]) -> tuple[int, SavedParams]:
    """Opens the newest readable checkpoint; a run in progress may delete one meanwhile."""
    problems = []
    for step in reversed(steps):
        try:
            return step, SavedParams(checkpoints / str(step))
        except UserError as error:
            problems.append(error)
            say(f"Note: {error}")
    raise problems[0]
