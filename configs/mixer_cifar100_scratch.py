"""Trains a small Mixer on CIFAR-100 at 32 pixels from random weights, by the plain recipe.

Recipe: configs/small_images.py.
Expected: not yet run in full. The course work behind the sizes reports 68.8 %, by a recipe that it
does not tell.
Cost: 100 x 49,000 pictures at 0.34 GMAC forward, 10 PFLOP.

    python launch/main.py --config=configs/mixer_cifar100_scratch.py
"""

from configs import common, small_images


def get_config(arg: str = ""):
    """The experiment; `arg` may be "smoke"."""
    config = small_images.mixer(small_images.cifar("cifar100"))
    return common.variant(config, arg)
