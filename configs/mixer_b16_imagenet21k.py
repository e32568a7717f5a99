"""Trains Mixer-B/16 on ImageNet-21k at 224 pixels from random weights, by the paper's recipe.

Recipe: MLP-Mixer (arXiv:2105.01601), table 4, in configs/mixer_pretraining.py.
Expected: fine-tuned on ImageNet by configs/mixer_b16_imagenet.py, 80.64 % (paper, Table 3). Not yet
run in full by this project.
Cost: 300 x 14.1 million pictures at 12.6 GMAC forward, 321 EFLOP: 891 hours at 100 TFLOP/s; in
the paper about 150 core-days of a TPU v3.
ImageNet-21k is fetched by hand from image-net.org, and prepared with TFDS under the name
imagenet21k; or as a folder of pictures, --config.data.name=/data/imagenet21k, with splits
of its own (--config.data.train_split and --config.data.eval_splits).

    python launch/main.py --config=configs/mixer_b16_imagenet21k.py
"""

from configs import common, mixer_pretraining


def get_config(arg: str = ""):
    """The experiment; `arg` may be "smoke"."""
    config = mixer_pretraining.imagenet21k("mixer_b16", magnitude=10.0, mixup=0.2)
    return common.variant(config, arg)
