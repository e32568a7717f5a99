"""MLP-Mixer's pre-training from random weights; no experiment by itself.

Source: MLP-Mixer (arXiv:2105.01601), section 3 and appendix B with table 4: Adam, batches of 4,096,
10,000 steps of warm-up, linear decay, decoupled weight decay, clipping at global norm 1, at 224
pixels. Weight decay there is what it is here, times the learning rate: 0.1 at a rate of 1e-3 takes
1e-4 of a weight each step, which google-research/big_vision writes as `wd=1e-4`. The paper tells no
loss; one sigmoid a class and the bias of the head are those of big_vision's recipes.
"""

import math

from ml_collections import ConfigDict

from configs import common


def imagenet(name: str) -> ConfigDict:
    """300 epochs of ImageNet, the same for B and L."""
    config = _recipe(num_classes=1000)
    config.model.name = name
    common.use_imagenet(config)
    config.train.duration = "300 epochs"
    _regularise(config, magnitude=15.0, mixup=0.5)
    return config


def imagenet21k(name: str, magnitude: float, mixup: float) -> ConfigDict:
    """300 epochs of ImageNet-21k."""
    config = _on_imagenet21k(name)
    config.train.duration = "300 epochs"
    _regularise(config, magnitude, mixup)
    return config


def large_data(name: str, epochs: int, peak_learning_rate: float) -> ConfigDict:
    """The settings for JFT-300M, which is not public: crops and flips alone, weight decay 0.03."""
    config = _on_imagenet21k(name)
    config.optimizer.weight_decay = 0.03
    config.schedule.peak_learning_rate = peak_learning_rate
    config.train.duration = f"{epochs} epochs"
    return config


def _on_imagenet21k(name: str) -> ConfigDict:
    """The recipe on ImageNet-21k, whose pictures lie in one split as big_vision prepares them."""
    config = _recipe(num_classes=21_843)
    config.model.name = name
    config.data.name = "imagenet21k"
    config.data.train_split = "full[51200:]"
    config.data.eval_splits = ConfigDict(
        {"validation": "full[25600:51200]", "test": "full[:25600]"}
    )
    config.sweep.train_split = "full[25600:]"
    return config


def _recipe(num_classes: int) -> ConfigDict:
    """What all have in common."""
    config = common.get_config()
    config.data.image_size = 224
    config.data.eval_preset = "resmall_crop"
    config.augment.crop = "inception"
    config.augment.crop_min_area = 0.05
    config.augment.flip = True
    config.loss.name = "sigmoid"
    config.loss.head_bias = round(-math.log(num_classes), 1)  # All equally likely at first.

    config.optimizer.name = "adamw"
    config.optimizer.beta1 = 0.9
    config.optimizer.beta2 = 0.999
    config.optimizer.weight_decay = 0.1
    config.optimizer.clip_global_norm = 1.0
    config.schedule.name = "linear"
    config.schedule.peak_learning_rate = 1e-3
    config.schedule.warmup = "10000 steps"

    config.train.global_batch_size = 4096
    config.evaluation.every = "1000 steps"
    config.evaluation.best_metric = "validation/top1"
    config.evaluation.global_batch_size = 4096
    config.checkpoint.every = "1000 steps"
    return config


def _regularise(config: ConfigDict, magnitude: float, mixup: float) -> None:
    """RandAugment in two layers, mixup and stochastic depth, as table 4 has them."""
    config.augment.policy = "randaugment"
    config.augment.randaugment_layers = 2
    config.augment.randaugment_magnitude = magnitude
    config.augment.mixup_alpha = mixup
    config.model.stochastic_depth = 0.1
