"""Trains an experiment once for each value of a grid, then the best on the whole training set.

python launch/sweep.py --config=configs/mixer_b16_cifar100.py
python launch/sweep.py --config=configs/mixer_cifar10_scratch.py --grid=optimizer.weight_decay=0.1,1
python launch/sweep.py --config=configs/mixer_digits.py --grid=seed=0,1,2

The last tells the median over the seeds and how far they spread.
"""

import sys
from pathlib import Path

from absl import flags

from launch import command, config_flag, experiments, hosts_flags

flags.adopt_module_key_flags(command)
flags.adopt_module_key_flags(config_flag)
GRID = flags.DEFINE_multi_string(
    "grid", [], "FIELD=VALUE,VALUE,...; repeated: all combinations. config.sweep.grid by default."
)
WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of the sweep; runs/<name of the config file>_sweep by default."
)
DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "Checks all runs, fetches data and weights, and trains nothing."
)

SOME_FAILED = 1  # Exit status.


def main() -> None:
    """Runs the sweep; run again, it goes on."""
    hosts_flags.refuse_several_hosts()
    config, name = config_flag.config_and_name()
    # Imported here so that --help and a wrong flag are answered at once.
    from mlp_core.runs.sweep import run_sweep

    experiment = experiments.experiment_of(config)
    workdir = command.path_of(WORKDIR) if WORKDIR.value else Path("runs", f"{name}_sweep")
    if not run_sweep(experiment, config, GRID.value, workdir, dry_run=DRY_RUN.value):
        sys.exit(SOME_FAILED)


if __name__ == "__main__":
    command.run_command(main, when_interrupted="; the same command goes on")
