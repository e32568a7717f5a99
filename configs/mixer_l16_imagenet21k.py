"""Trains Mixer-L/16 on ImageNet-21k at 224 pixels from random weights, by the paper's recipe.

Recipe: MLP-Mixer (arXiv:2105.01601), table 4, in configs/mixer_pretraining.py.
Expected: fine-tuned on ImageNet by configs/mixer_l16_imagenet.py, 82.89 % (paper, Table 3). Not yet
run in full by this project.
Cost: 300 x 14.1 million pictures at 44.6 GMAC forward, 1.1 ZFLOP: 3,155 hours at 100 TFLOP/s; in
the paper about 410 core-days of a TPU v3.
ImageNet-21k is fetched by hand from image-net.org, and prepared with TFDS under the name
imagenet21k; or as a folder of pictures, --config.data.name=/data/imagenet21k, with splits
of its own (--config.data.train_split and --config.data.eval_splits).

    python launch/main.py --config=configs/mixer_l16_imagenet21k.py
"""

from configs import common, mixer_pretraining


def get_config(arg: str = ""):
    """The experiment; `arg` may be "smoke"."""
    config = mixer_pretraining.imagenet21k("mixer_l16", magnitude=20.0, mixup=0.5)
    return common.variant(config, arg)
