"""Trains a Vision Transformer on ImageNet at 224 pixels as the Mixers are, beside which it stands.

Name the size behind the colon: ti16, s32, s16, b32, b16, l32, l16 or h14 (b16 without a name).
Recipe: that of the Mixers, MLP-Mixer (arXiv:2105.01601), table 4, in configs/mixer_pretraining.py.
Expected: B/16 79.67 %, L/16 76.11 % in table 3 of that paper, which has these from the authors of
ViT and does not tell their recipe. Not run by this project.
Cost: B/16 300 x 1,268,355 pictures at 17.6 GMAC forward, 40 EFLOP: 112 hours at 100 TFLOP/s.
ImageNet (144 GiB) is fetched by hand from image-net.org, which asks for an account, and prepared
with TFDS.

    python launch/main.py --config=configs/vit_imagenet_scratch.py:b16
"""

from configs import common, mixer_pretraining, run_fields

SIZES = ["ti16", "s32", "s16", "b32", "b16", "l32", "l16", "h14"]


def get_config(arg: str = ""):
    """The experiment; `arg` may be a size, "smoke", or both with a comma between them."""
    size, rest = run_fields.choice_and_variant(arg, SIZES, default="b16", kind="size")
    config = mixer_pretraining.imagenet(f"vit_{size}")
    return common.variant(config, rest)
