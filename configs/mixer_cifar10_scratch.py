"""Trains a small Mixer on CIFAR-10 at 32 pixels from random weights.

Source: the sizes (patch 4, C = 256, D_S = 256, D_C = 1024, eight blocks) are those of a small
comparison of all-MLP networks on CIFAR-10 (course work, which reports 82.3 %); optimizer and
augmentation are ours.
Expected: not yet run in full. One epoch of a smaller model reaches 51 % in four minutes on two CPU
cores (README, Results); 100 epochs of this one are for a GPU.

    python launch/main.py --config=configs/mixer_cifar10_scratch.py
"""

from configs import common


def get_config(arg: str = ""):
    """The experiment; `arg` may be "smoke"."""
    config = common.get_config()
    config.model.name = "mixer"
    config.model.patch_size = 4  # 64 tokens.
    config.model.hidden_dim = 256
    config.model.num_blocks = 8
    config.model.tokens_mlp_dim = 256
    config.model.channels_mlp_dim = 1024

    config.data.name = "cifar10"
    config.data.train_split = "train[:98%]"
    config.data.eval_splits = {"validation": "train[98%:]", "test": "test"}
    config.data.image_size = 32
    config.augment.crop = "inception"
    config.augment.crop_min_area = 0.25
    config.augment.flip = True

    config.optimizer.name = "adamw"
    config.optimizer.weight_decay = 0.1
    config.schedule.peak_learning_rate = 1e-3
    config.schedule.warmup = "1 epoch"

    config.train.duration = "100 epochs"
    config.train.global_batch_size = 256
    config.evaluation.every = "1 epoch"
    config.evaluation.best_metric = "validation/top1"
    config.sweep.train_split = "train"
    config.checkpoint.every = "1 epoch"
    return common.variant(config, arg)
