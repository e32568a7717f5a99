"""Writes a model's activations on a split to a file, for probes, search or plots.

python launch/features.py --config=configs/mixer_digits.py --output=digits.npz
python launch/features.py --config=configs/mixer_b16_pets.py --weights=imagenet21k/Mixer-B_16 \
    --split=train --layers=pooled,block_11 --output=pets_train
"""

from absl import flags

from launch import command, config_flag, experiments, weights_flag

flags.adopt_module_key_flags(command)
flags.adopt_module_key_flags(config_flag)
flags.adopt_module_key_flags(weights_flag)
SPLIT = flags.DEFINE_string("split", "test", "Such as test or train[:1000].")
LAYERS = flags.DEFINE_list(
    "layers", ["pooled"], "pooled (before the head), or the tokens behind a block: block_0 ..."
)
OUTPUT = flags.DEFINE_string(
    "output", None, "FILE.npz, or a folder to write array_record for TFDS to read."
)


def main() -> None:
    """Extracts the features."""
    config, name = config_flag.config_and_name()
    command.require(OUTPUT)
    experiments.require_images(config)
    weights = weights_flag.weights_or_run(name)
    # Imported here so that --help and a wrong flag are answered at once.
    from mlp_vision.tools.features import extract

    output = command.path_of(OUTPUT)
    extract(config, weights, SPLIT.value, LAYERS.value, output)


if __name__ == "__main__":
    command.run_command(main)
