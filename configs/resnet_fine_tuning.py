"""Fine-tunes a ResNet of Big Transfer, pre-trained by Google on ImageNet-21k: the papers' baseline.

Name size and data behind the colon: 50x1, 50x3, 101x1, 101x3, 152x2 or 152x4 (50x1 without a
name); cifar10, cifar100, pets, flowers or imagenet (cifar100); as in 152x2,pets.
Recipe: that of the Mixers, configs/fine_tuning.py, at 224 pixels, so that models alone differ. Big
Transfer's own rule is configs/resnet_hyperrule.py.
Expected: not known; R152x4 has 85.39 % on ImageNet by Big Transfer's rule (MLP-Mixer,
arXiv:2105.01601, table 2). Not run by this project.
Cost: R50x1 4.1 GMAC forward, ten thousand steps of 512 pictures: 0.13 EFLOP.
Downloads: the data, and the weights from gs://bit_models, once.

    python launch/main.py --config=configs/resnet_fine_tuning.py:50x1,cifar100
"""

from ml_collections import ConfigDict

from configs import common, fine_tuning

BUCKET = "https://storage.googleapis.com/bit_models"
SIZES = ["50x1", "50x3", "101x1", "101x3", "152x2", "152x4"]


def get_config(arg: str = ""):
    """The experiment; `arg` may be a size, data, "smoke", or several with commas between them."""
    size, data, rest = fine_tuning.split_arg(arg, SIZES)
    config = of_size(size, data)
    config.sweep.grid = ("schedule.peak_learning_rate=0.001,0.003,0.01,0.03",)
    return common.variant(config, rest)


def of_size(size: str, data: str) -> ConfigDict:
    """What both recipes of a ResNet have in common: model, weights, rate and micro-batches."""
    config = fine_tuning.ON[data]()
    config.model.name = f"resnet_{size}"
    config.init.weights = f"{BUCKET}/BiT-M-R{size}.npz"
    config.train.grad_accum_steps = 8
    config.schedule.peak_learning_rate = 0.003
    return config
