"""gMLP's training on ImageNet from random weights; no experiment by itself.

Source: Pay Attention to MLPs (arXiv:2105.08050), section 3 and appendix A.1, table 7: AdamW,
batches of 4,096, 10,000 steps of warm-up, cosine decay; DeiT's augmentation (arXiv:2012.12877) with
AutoAugment, and of its regularisation stochastic depth by the model's size alone. That the rate
grows linearly with the depth, and crops of 8 % of a picture and more, are DeiT's.
"""

from ml_collections import ConfigDict

from configs import common


def imagenet(name: str, survival_probability: float) -> ConfigDict:
    """300 epochs of ImageNet; blocks of the last layer survive with the given probability."""
    config = common.get_config()
    config.model.name = name
    config.model.stochastic_depth = round(1 - survival_probability, 3)
    config.model.stochastic_depth_rescaled = True

    common.use_imagenet(config)
    config.data.image_size = 224
    config.data.eval_preset = "resmall_crop"
    config.augment.crop = "inception"
    config.augment.crop_min_area = 0.08
    config.augment.flip = True
    config.augment.policy = "autoaugment_imagenet"
    config.augment.mixup_alpha = 0.8
    config.augment.cutmix_alpha = 1.0
    config.augment.cutmix_probability = 0.5
    config.loss.label_smoothing = 0.1

    config.optimizer.name = "adamw"
    config.optimizer.beta1 = 0.9
    config.optimizer.beta2 = 0.999
    config.optimizer.epsilon = 1e-6
    config.optimizer.weight_decay = 0.05
    config.optimizer.clip_global_norm = 1.0
    config.schedule.name = "cosine"
    config.schedule.peak_learning_rate = 1e-3
    config.schedule.warmup = "10000 steps"

    config.train.duration = "300 epochs"
    config.train.global_batch_size = 4096
    config.evaluation.every = "1000 steps"
    config.evaluation.global_batch_size = 4096
    config.checkpoint.every = "1000 steps"
    return config
