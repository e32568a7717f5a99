"""Trains several experiments and sets them beside each other, in one table.

python launch/compare.py configs/mixer_digits.py configs/mixer_digits.py:smoke
python launch/compare.py configs/{mixer,gmlp}_cifar10_scratch.py --grid=seed=0,1
python launch/compare.py configs/{gmlp,tmlp,amlp}_sst2_scratch.py --grid=train.duration="1 epoch"

Run again, it goes on, and what is finished is not trained again.
"""

import sys

from absl import flags

from launch import command, config_files, experiments, hosts_flags
from mlp_core.errors import UserError

flags.adopt_module_key_flags(command)
GRID = flags.DEFINE_multi_string(
    "grid", [], "FIELD=VALUE,VALUE,... for all experiments; repeated: all combinations."
)
WORKDIR = flags.DEFINE_string(
    "workdir", "runs/comparison", "Folder of the comparison, with one for each experiment."
)
DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "Checks all runs, fetches data and weights, and trains nothing."
)

SOME_FAILED = 1  # Exit status.


def main(files: list[str]) -> None:
    """Runs the comparison; run again, it goes on."""
    hosts_flags.refuse_several_hosts()
    if not files:
        raise UserError(f"{sys.argv[0]}: name config files, such as configs/mixer_digits.py.")
    names = [config_files.name_of(file) for file in files]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(
            f"{sys.argv[0]}: two of the files have the name, and so the folder, {twice[0]}; copy "
            "one under another name."
        )
    configs = [config_files.load(file) for file in files]
    # Imported here so that --help and a wrong flag are answered at once.
    from mlp_core.runs.compare import Entry, run_comparison

    entries = [
        Entry(name, experiments.experiment_of(config), config)
        for name, config in zip(names, configs, strict=True)
    ]
    workdir = command.path_of(WORKDIR)
    if not run_comparison(entries, GRID.value, workdir, dry_run=DRY_RUN.value):
        sys.exit(SOME_FAILED)


if __name__ == "__main__":
    command.run_command(main, takes_files=True, when_interrupted="; the same command goes on")
