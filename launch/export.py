"""Writes a trained model as Google's npz, timm's safetensors or a StableHLO program.

python launch/export.py --weights=runs/mixer_digits --output=mixer_digits.npz
python launch/export.py --weights=imagenet21k/Mixer-B_16 --output=mixer_b16.safetensors
python launch/export.py --weights=runs/mixer_digits --output=mixer_digits.stablehlo
"""

from absl import flags

from launch import command

flags.adopt_module_key_flags(command)
WEIGHTS = flags.DEFINE_string(
    "weights", None, "A run's folder, a file, a published name, hf://OWNER/NAME or a URL."
)
OUTPUT = flags.DEFINE_string(
    "output", None, "File to write; .npz, .safetensors or .stablehlo says in which format."
)
IMAGE_SIZE = flags.DEFINE_integer(
    "image_size", None, "Pixels a side; as in the weights by default."
)
MIRROR = flags.DEFINE_string("mirror", None, "Folder or URL that holds the published files.")


def main() -> None:
    """Exports the weights."""
    command.require(WEIGHTS, OUTPUT)
    # Imported here so that --help and a wrong flag are answered at once.
    from mlp_vision.tools.export import check_output, export
    from mlp_vision.weights.loading import open_weights
    from mlp_vision.weights.published_weights import locate_weights

    output = command.path_of(OUTPUT)
    check_output(output)
    weights = open_weights(locate_weights(WEIGHTS.value, MIRROR.value))
    spec = weights.spec.adapted(image_size=IMAGE_SIZE.value)
    export(weights, spec, output)


if __name__ == "__main__":
    command.run_command(main)
