"""Trains a small ResNet-v2 on CIFAR-10 at 32 pixels from random weights, by the plain recipe.

Recipe: configs/small_images.py, as for mixer_cifar10_scratch.py and gmlp_cifar10_scratch.py.
Expected: not yet run in full.
Cost: 100 x 49,000 pictures at 0.04 GMAC forward, 1 PFLOP.

    python launch/main.py --config=configs/resnet_cifar10_scratch.py
"""

from configs import common, small_images


def get_config(arg: str = ""):
    """The experiment; `arg` may be "smoke"."""
    config = small_images.resnet(small_images.cifar("cifar10"))
    return common.variant(config, arg)
