"""Trains a small gMLP on CIFAR-10 at 32 pixels from random weights, by the strong recipe.

Recipe: configs/small_images.py.
Expected: not yet run in full; meant to pass 90 %.
Cost: 300 x 49,000 pictures at 0.22 GMAC forward, 19 PFLOP.

    python launch/main.py --config=configs/gmlp_cifar10_strong.py
"""

from configs import common, small_images


def get_config(arg: str = ""):
    """The experiment; `arg` may be "smoke"."""
    config = small_images.gmlp(small_images.strong_cifar("cifar10"))
    return common.variant(config, arg)
