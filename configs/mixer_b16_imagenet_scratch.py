"""Trains Mixer-B/16 on ImageNet at 224 pixels from random weights, by the paper's recipe.

Recipe: MLP-Mixer (arXiv:2105.01601), table 4, in configs/mixer_pretraining.py.
Expected: 76.44 % of the 50,000 pictures of TFDS's validation split (paper, Table 3). Not yet run in
full by this project.
Cost: 300 x 1,268,355 pictures at 12.6 GMAC forward, 29 EFLOP: 80 hours at 100 TFLOP/s; in the
paper about 10 core-days of a TPU v3.
ImageNet (144 GiB) is fetched by hand from image-net.org, which asks for an account, and prepared
with TFDS.

    python launch/main.py --config=configs/mixer_b16_imagenet_scratch.py
"""

from configs import common, mixer_pretraining


def get_config(arg: str = ""):
    """The experiment; `arg` may be "smoke"."""
    config = mixer_pretraining.imagenet("mixer_b16")
    return common.variant(config, arg)
