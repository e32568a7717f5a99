"""Trains, or fine-tunes, what a config file describes; run again, it goes on where it stopped.

    python launch/main.py --config=configs/mixer_digits.py
    python launch/main.py --config=configs/mixer_b16_cifar100.py --config.train.duration="5 epochs"
    python launch/main.py --config=configs/mixer_b16_cifar100.py:smoke
"""

from pathlib import Path

from absl import flags
from ml_collections import config_flags

from launch.command import run_command
from mlp_core.errors import UserError

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Config file; ':smoke' behind it gives a two-minute version.", lock_config=True
)
WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of the run; runs/<name of the config file> by default."
)
DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "Checks the config, fetches data and weights, and trains nothing."
)


def main() -> None:
    """Trains the configured experiment."""
    if CONFIG.value is None:
        raise UserError("name an experiment, such as --config=configs/mixer_digits.py.")
    workdir = Path(WORKDIR.value or Path("runs") / _run_name())
    # Imported here so that --help and a wrong flag are answered at once.
    from mlp_vision import classification

    classification.train(CONFIG.value, workdir, dry_run=DRY_RUN.value)


def _run_name() -> str:
    """`mixer_digits` for configs/mixer_digits.py, `mixer_digits_smoke` for its smoke variant."""
    config_file, _, arg = flags.FLAGS["config"].config_filename.partition(":")
    return "_".join(filter(None, [Path(config_file).stem, arg]))


if __name__ == "__main__":
    run_command(main)
