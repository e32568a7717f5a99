"""Trains gMLP-B/16 on ImageNet at 224 pixels from random weights, by the paper's recipe.

Recipe: Pay Attention to MLPs (arXiv:2105.08050), table 7, in configs/gmlp_training.py.
Expected: 81.6 % of the 50,000 pictures of TFDS's validation split (paper, Table 2). Not yet run in
full by this project.
Cost: 300 x 1,268,355 pictures at 15.78 GMAC forward, 36 EFLOP: 100 hours at 100 TFLOP/s.
ImageNet (144 GiB) is fetched by hand from image-net.org, which asks for an account, and prepared
with TFDS.

    python launch/main.py --config=configs/gmlp_b16_imagenet.py
"""

from configs import common, gmlp_training


def get_config(arg: str = ""):
    """The experiment; `arg` may be "smoke"."""
    config = gmlp_training.imagenet("gmlp_b16", survival_probability=0.8)
    return common.variant(config, arg)
