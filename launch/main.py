"""Trains, or fine-tunes, what a config file describes; run again, it goes on where it stopped.

python launch/main.py --config=configs/mixer_digits.py
python launch/main.py --config=configs/mixer_b16_cifar100.py --config.train.duration="5 epochs"
python launch/main.py --config=configs/mixer_b16_cifar100.py:smoke
"""

from pathlib import Path

from absl import flags

from launch import command, config_flag, experiments

flags.adopt_module_key_flags(command)
flags.adopt_module_key_flags(config_flag)
WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of the run; runs/<name of the config file> by default."
)
DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "Checks the config, fetches data and weights, and trains nothing."
)


def main() -> None:
    """Trains the configured experiment."""
    config, name = config_flag.config_and_name()
    workdir = Path(WORKDIR.value or f"runs/{name}").expanduser()
    experiments.experiment_of(config).train(config, workdir, dry_run=DRY_RUN.value)


if __name__ == "__main__":
    command.run_command(
        main, when_interrupted="; the same command goes on from the last checkpoint"
    )
