"""Trains a ResNet-v2 on ImageNet at 224 pixels as the Mixers are, beside which it stands.

Name the size behind the colon: 50x1, 50x3, 101x1, 101x3, 152x2 or 152x4 (50x1 without a name).
Recipe: MLP-Mixer (arXiv:2105.01601), table 4, in configs/mixer_pretraining.py, without stochastic
depth. The papers' ResNets come from Big Transfer (arXiv:1912.11370), which trains by SGD.
Expected: not known for this recipe, and not run.
Cost: R50x1 300 x 1,268,355 pictures at 4.1 GMAC forward, 9 EFLOP: 26 hours at 100 TFLOP/s.
ImageNet (144 GiB) is fetched by hand from image-net.org, which asks for an account, and prepared
with TFDS.

    python launch/main.py --config=configs/resnet_imagenet_scratch.py:50x1
"""

from configs import common, mixer_pretraining, run_fields

SIZES = ["50x1", "50x3", "101x1", "101x3", "152x2", "152x4"]


def get_config(arg: str = ""):
    """The experiment; `arg` may be a size, "smoke", or both with a comma between them."""
    size, rest = run_fields.choice_and_variant(arg, SIZES, default="50x1", kind="size")
    config = mixer_pretraining.imagenet(f"resnet_{size}")
    config.model.stochastic_depth = 0.0
    return common.variant(config, rest)
