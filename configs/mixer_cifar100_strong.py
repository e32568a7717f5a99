"""Trains a small Mixer on CIFAR-100 at 32 pixels from random weights, by the strong recipe.

Recipe: configs/small_images.py.
Expected: not yet run in full; meant to pass the 68.8 % of the course work behind the sizes.
Cost: 300 x 49,000 pictures at 0.34 GMAC forward, 30 PFLOP.

    python launch/main.py --config=configs/mixer_cifar100_strong.py
"""

from configs import common, small_images


def get_config(arg: str = ""):
    """The experiment; `arg` may be "smoke"."""
    config = small_images.mixer(small_images.strong_cifar("cifar100"))
    return common.variant(config, arg)
