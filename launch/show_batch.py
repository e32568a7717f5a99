"""Draws what a config's augmentation yields: the pictures and labels of a training batch.

python launch/show_batch.py --config=configs/mixer_digits.py --output=digits.png
python launch/show_batch.py --config=configs/mixer_b16_pets.py --output=pets.png --step=100 \
    --config.augment.policy=randaugment --config.augment.mixup_alpha=0.5
"""

from absl import flags

from launch import command, config_flag, experiments

flags.adopt_module_key_flags(command)
flags.adopt_module_key_flags(config_flag)
OUTPUT = flags.DEFINE_string("output", None, "File to write, FILE.png or FILE.svg.")
ROWS = flags.DEFINE_integer("rows", 3, "Rows of training pictures.", lower_bound=1)
COLUMNS = flags.DEFINE_integer("columns", 8, "Pictures a row.", lower_bound=1)
STEP = flags.DEFINE_integer("step", 0, "The step whose batch is shown, from 0.", lower_bound=0)


def main() -> None:
    """Draws the batch."""
    config, name = config_flag.config_and_name()
    command.require(OUTPUT)
    experiments.require_images(config)
    # Imported here so that --help and a wrong flag are answered at once.
    from mlp_vision.tools.show_batch import show_batch

    output = command.path_of(OUTPUT)
    show_batch(config, name, output, ROWS.value, COLUMNS.value, STEP.value)


if __name__ == "__main__":
    command.run_command(main)
