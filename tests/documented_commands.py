"""Whether commands are real, by the commands' own parsing; nothing is trained, fetched or drawn.

python -m tests.documented_commands < commands.json

Reads a list of commands in words, ["launch/main.py", "--config=configs/mixer_digits.py"], and
prints a list with what is wrong with each, null for nothing.
"""

import contextlib
import gc
import io
import json
import multiprocessing
import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib.figure  # noqa: F401  Once, before processes part.
from absl import flags
from ml_collections import ConfigDict

from launch import command, experiments
from mlp_core.config import parse_config
from mlp_core.errors import UserError
from mlp_core.planning.chips import check_topology
from mlp_core.runs.grid import at_point, parse_grid
from mlp_text.tasks import experiment as text_experiment
from mlp_text.tasks.model_from_config import check_fields
from mlp_vision.tasks.model_from_config import wanted_spec
from mlp_vision.weights.published_weights import PUBLISHED, spec_before_fetching

PROCESSES = 2


def main() -> None:
    """Looks at each command in a process of its own, for flags are global."""
    commands = json.load(sys.stdin)
    gc.freeze()  # Processes part faster where nothing that they share is written to.
    with multiprocessing.get_context("fork").Pool(PROCESSES, maxtasksperchild=1) as pool:
        problems = pool.map(problem, commands, chunksize=1)
    json.dump(problems, sys.stdout)


def problem(words: list[str]) -> str | None:
    """What a command says to its flags, if it ends with an error."""
    is_for_tpus = words[0] == "launch/tpu_vm.py"  # It can show all that it would do.
    sys.argv = [*words, "--dry_run"] if is_for_tpus else list(words)
    run_command = command.run_command

    def run_check(main: Callable[..., None], **options) -> None:
        to_run = main if is_for_tpus else _check_of(main)
        run_command(to_run, **(options | {"uses_jax": False}))

    command.run_command = run_check
    told = io.StringIO()
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
        try:
            runpy.run_path(words[0], run_name="__main__")
        except SystemExit as end:
            return told.getvalue().strip() if end.code else None
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    return None


def _check_of(main: Callable[..., None]) -> Callable[..., None]:
    """What looks at the flags in place of the `main` of a command."""
    names = main.__globals__

    def check(files: list[str] = ()) -> None:
        source = Path(names["__file__"]).read_text()
        for needed in re.findall(r"command\.require\(([A-Z_, ]+)\)", source):
            command.require(*(names[name] for name in needed.split(", ")))
        if "FIGURES" in names:
            names["checked_figure"](files)
        if "config_flag" in names:
            _check_config(names["config_flag"].config_and_name()[0])
        if "config_files" in names:
            for file in files:
                _check_config(names["config_files"].load(file))
        if "topology" in flags.FLAGS:
            _check_topology(flags.FLAGS["topology"].value)

    return check


def _check_config(config: ConfigDict) -> None:
    _check_experiment(config)
    for flag in {"grid", "sweep"} & set(flags.FLAGS):
        if entries := flags.FLAGS[flag].value:
            for point in parse_grid(config, entries, flag=f"--{flag}"):
                _check_experiment(at_point(config, point))


def _check_experiment(config: ConfigDict) -> None:
    experiment = experiments.experiment_of(config)
    settings = parse_config(experiment.SETTINGS, config)
    if experiment is text_experiment:
        check_fields(settings)
        return
    weights = settings.init.weights
    start = spec_before_fetching(weights) if weights in PUBLISHED else None
    if start or not weights:  # Else the weights settle what the model is.
        wanted_spec(settings, start, num_classes=1)


def _check_topology(name: str) -> None:
    try:
        check_topology(name)
    except UserError as error:
        if "no such topology" in str(error):  # Else the TPU compiler is not installed.
            raise


if __name__ == "__main__":
    main()
