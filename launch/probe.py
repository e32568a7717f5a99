"""Tells how well classes can be read linearly out of frozen features: few-shot and linear probes.

python launch/probe.py --config=configs/mixer_digits.py
python launch/probe.py --config=configs/mixer_b16_pets.py --weights=imagenet21k/Mixer-B_16
python launch/probe.py --config=configs/mixer_b16_imagenet.py --weights=imagenet21k/Mixer-B_16 \
    --train_split=train[:10%] --shots=5 --nolinear --json=five_shot.json

Ridge regressions in closed form, no training. The penalty is chosen by held-out training pictures.
"""

import json
import re

from absl import flags

from launch import command, config_flag, experiments, weights_flag
from mlp_core.errors import UserError
from mlp_core.process.files import write_whole

flags.adopt_module_key_flags(command)
flags.adopt_module_key_flags(config_flag)
flags.adopt_module_key_flags(weights_flag)
TRAIN_SPLIT = flags.DEFINE_string(
    "train_split", None, "What is fitted; by default all that the config's sweep or run trains on."
)
SPLIT = flags.DEFINE_string("split", None, "What is scored; by default the config's test split.")
SHOTS = flags.DEFINE_list("shots", ["1", "5", "10", "25"], "Examples of each class; may be empty.")
LINEAR = flags.DEFINE_bool("linear", True, "Fits a probe on the whole training split, too.")
JSON = flags.DEFINE_string("json", None, "File to write all figures to.")


def main() -> None:
    """Fits and scores the probes."""
    config, name = config_flag.config_and_name()
    experiments.require_images(config)
    shots = numbers_of_shots(SHOTS.value)
    output = command.file_to_write(JSON)
    weights = weights_flag.weights_or_run(name)
    # Imported here so that --help and a wrong flag are answered at once.
    from mlp_vision.tools.probes import probe

    train_split = TRAIN_SPLIT.value or config.sweep.train_split or config.data.train_split
    test_split = SPLIT.value or config.data.eval_splits.get("test", "test")
    told = probe(config, weights, train_split, test_split, shots, LINEAR.value)
    if output:
        write_whole(output, json.dumps(told, indent=2) + "\n")


def numbers_of_shots(texts: list[str]) -> list[int]:
    """The numbers in --shots, as they stand there.

    Raises:
        UserError: one is no number above 0.
    """
    for text in texts:
        if not re.fullmatch("0*[1-9][0-9]{0,8}", text):
            raise UserError(f"--shots: {text!r} is no number of examples, such as 5.")
    return [int(text) for text in texts]


if __name__ == "__main__":
    command.run_command(main)
