"""Trains a small Mixer on Oxford-IIIT Pets at 32 pixels from random weights, by the plain recipe.

Recipe: configs/small_images.py.
Expected: not yet run in full. The course work behind the sizes reports 79.4 %, by a recipe that it
does not tell.
Cost: 300 x 3,312 pictures at 0.34 GMAC forward, 2 PFLOP.

    python launch/main.py --config=configs/mixer_pets_scratch.py
"""

from configs import common, small_images


def get_config(arg: str = ""):
    """The experiment; `arg` may be "smoke"."""
    config = small_images.mixer(small_images.pets())
    return common.variant(config, arg)
