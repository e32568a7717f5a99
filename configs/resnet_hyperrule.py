"""Fine-tunes a ResNet of Big Transfer by its own rule, BiT-HyperRule, which needs no sweep.

Name size and data behind the colon, as for configs/resnet_fine_tuning.py: 152x2,pets.
Recipe: Big Transfer (arXiv:1912.11370, section 3.3) as released in google-research/big_transfer,
from which are the warm-up, when the rate falls and the pixels, the same for all sizes. SGD at
0.003, to a tenth at 30, 60 and 90 % of the steps, or on the small sets at 40, 60 and 80 %; mixup on
the others; pictures squashed to 512 pixels and cropped to 480, those of CIFAR to 160 and 128; all
training pictures, evaluated whole.
Expected: R152x4 85.39 % on ImageNet, and 94.04 % as the mean of the five (MLP-Mixer,
arXiv:2105.01601, table 2). Not run by this project.
Cost: R50x1 on CIFAR 1.3 GMAC forward, ten thousand steps of 512 pictures: 41 PFLOP; on ImageNet 19
GMAC, twice the steps: 1.2 EFLOP.
Downloads: the data, and the weights from gs://bit_models, once.

    python launch/main.py --config=configs/resnet_hyperrule.py:50x1,cifar100
"""

from ml_collections import ConfigDict

from configs import common, fine_tuning
from configs.resnet_fine_tuning import SIZES, of_size

TINY_PICTURES = ("cifar10", "cifar100")  # Below 96 x 96 pixels.
FEW_PICTURES = ("pets", "flowers")  # Below 20,000.


def get_config(arg: str = ""):
    """The experiment; `arg` may be a size, data, "smoke", or several with commas between them."""
    size, data, rest = fine_tuning.split_arg(arg, SIZES)
    config = of_size(size, data)
    config.data.train_split = config.sweep.train_split
    config.data.eval_splits = ConfigDict({"test": config.data.eval_splits.test})
    config.evaluation.best_metric = "test/top1"
    config.checkpoint.keep_best = 0  # The last one counts: nothing is chosen by test results.
    config.data.eval_preset = "squash"
    config.augment.crop = "squash"
    config.data.image_size, config.augment.crop_from = (
        (128, 160) if data in TINY_PICTURES else (480, 512)
    )
    config.augment.mixup_alpha = 0.0 if data in FEW_PICTURES else 0.1
    config.optimizer.momentum_dtype = "float32"
    config.optimizer.clip_global_norm = 0.0
    config.schedule.name = "steps"
    config.schedule.decay_at = (0.4, 0.6, 0.8) if data in FEW_PICTURES else (0.3, 0.6, 0.9)
    config.sweep.grid = ()
    return common.variant(config, rest)
