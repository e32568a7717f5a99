"""Tells the accuracy of any weights on the splits of a config's data set.

python launch/evaluate.py --config=configs/mixer_digits.py
python launch/evaluate.py --config=configs/mixer_b16_imagenet.py --weights=imagenet1k/Mixer-B_16
python launch/evaluate.py --config=configs/mixer_b16_pets.py --weights=pets.npz --split=test
"""

from absl import flags

from launch import command, config_flag, weights_flag

flags.adopt_module_key_flags(command)
flags.adopt_module_key_flags(config_flag)
flags.adopt_module_key_flags(weights_flag)
SPLIT = flags.DEFINE_multi_string(
    "split", None, "Such as test or train[:1000]; by default the config's eval_splits. Repeatable."
)


def main() -> None:
    """Evaluates the weights. Numerics and image size are theirs, unless a flag sets them."""
    config, name = config_flag.config_and_name()
    weights = weights_flag.weights_or_run(name)
    # Imported here so that --help and a wrong flag are answered at once.
    from mlp_vision.scoring import score

    splits = {split: split for split in SPLIT.value or ()} or config.data.eval_splits.to_dict()
    score(config, weights, config_flag.fields_set(), splits)


if __name__ == "__main__":
    command.run_command(main)
