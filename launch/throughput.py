"""Tells images a second, memory and arithmetic of vision models on the devices of this machine.

python launch/throughput.py
python launch/throughput.py --models=mixer_s32,gmlp_ti16 --batch_size=8 --json=speed.jsonl
python launch/throughput.py --models=mixer_l16 --image_size=448 --steps=forward

The pass of evaluation and the training step of the recipes on ImageNet, beside what MLP-Mixer's
paper measured; pictures are made on the devices, nothing is downloaded. For a TPU that is not
there, see launch/plan.py.
"""

import importlib

from absl import flags
from ml_collections import ConfigDict

from launch import command

flags.adopt_module_key_flags(command)
MODELS = flags.DEFINE_list(
    "models", None, "Such as mixer_s32,gmlp_ti16; by default all of the papers' tables."
)
BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Images a device.", lower_bound=1)
IMAGE_SIZE = flags.DEFINE_integer("image_size", 224, "Pixels a side.", lower_bound=1)
COMPUTE_DTYPE = flags.DEFINE_enum(
    "compute_dtype",
    "auto",
    ["auto", "bfloat16", "float32"],
    "Of the arithmetic; auto: float32 on CPU only.",
)
STEPS = flags.DEFINE_list("steps", ["forward", "training"], "Which steps to measure.")
JSON = flags.DEFINE_string("json", None, "File to write a line of JSON a model to.")

RECIPES = {  # By architecture.
    "mixer": "mixer_b16_imagenet_scratch",
    "gmlp": "gmlp_s16_imagenet",
    "vit": "vit_imagenet_scratch",
    "resnet": "resnet_imagenet_scratch",
}


def main() -> None:
    """Measures the models."""
    output = command.file_to_write(JSON)
    # Imported here so that --help and a wrong flag are answered at once.
    from mlp_vision.models.registry import find_model
    from mlp_vision.tasks.planning import published_models
    from mlp_vision.tools.throughput_report import tell_throughput

    models = published_models() if MODELS.value is None else MODELS.value
    for model in models:
        find_model(model)
    tell_throughput(models, open_recipe, STEPS.value, output)


def open_recipe(model: str) -> ConfigDict:
    """The recipe on ImageNet of a model's architecture, with the sizes of the flags."""
    import jax  # Here so that --help and a wrong flag are answered at once.

    from mlp_vision.models.registry import find_model

    global_batch_size = BATCH_SIZE.value * jax.device_count()
    recipe = RECIPES[find_model(model)[0].architecture]
    config = importlib.import_module(f"configs.{recipe}").get_config()
    config.model.name = model
    config.data.image_size = IMAGE_SIZE.value
    config.train.compute_dtype = COMPUTE_DTYPE.value
    config.train.global_batch_size = global_batch_size
    config.evaluation.global_batch_size = global_batch_size
    return config


if __name__ == "__main__":
    command.run_command(main)
