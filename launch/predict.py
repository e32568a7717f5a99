"""Names what is in pictures: the likeliest classes with their probabilities.

python launch/predict.py --weights=runs/mixer_b16_pets dog.jpg
python launch/predict.py --weights=imagenet21k/Mixer-B_16 --top=3 holiday/
"""

import os
import sys

from absl import flags

from launch import command

flags.adopt_module_key_flags(command)
WEIGHTS = flags.DEFINE_string(
    "weights", None, "A run's folder, a file, a published name, hf://OWNER/NAME or a URL."
)
MIRROR = flags.DEFINE_string("mirror", None, "Folder or URL that holds the published files.")
TOP = flags.DEFINE_integer("top", 5, "Classes told of each picture.", lower_bound=1)
IMAGE_SIZE = flags.DEFINE_integer(
    "image_size", None, "Pixels a side; as in the weights if unset.", lower_bound=1
)


def main(names: list[str]) -> None:
    """Predicts; the pictures that cannot be read are named on stderr, and counted at the end."""
    command.require(WEIGHTS)
    # Imported here so that --help and a wrong flag are answered at once.
    from mlp_core.errors import UserError
    from mlp_vision.label_names import label_names
    from mlp_vision.prediction import find_pictures, predict
    from mlp_vision.pretrained import load_params
    from mlp_vision.published_weights import locate_weights
    from mlp_vision.weights import open_weights

    paths = find_pictures(names)
    weights = open_weights(locate_weights(WEIGHTS.value, MIRROR.value))
    spec = weights.spec.adapted(image_size=IMAGE_SIZE.value)
    if spec.num_classes == 0:
        raise UserError(f"--weights={WEIGHTS.value}: these have no head to tell classes by.")
    params = load_params(weights, spec, "keep")
    print(f"Pictures: {len(paths):,}; {spec.preprocessing()}; {spec.output} probabilities")
    labels, bad = label_names(spec), 0
    for prediction in predict(spec, params, paths, TOP.value):
        name = os.fsencode(prediction.path).decode(errors="replace")
        if prediction.problem:
            bad += 1
            print(f"{name}: {prediction.problem}", file=sys.stderr)
            continue
        print(name)
        for label, probability in prediction.best:
            print(f"  {100 * probability:6.2f} %  {labels[label]}")
    if bad:
        raise UserError(f"{bad:,} of {len(paths):,} pictures cannot be read; they are named above.")


if __name__ == "__main__":
    command.run_command(main, takes_files=True)
