"""Trains a small Mixer on the 1,797 scanned digits inside scikit-learn, from random weights.

Source: ours, a first run that needs no download. The model, 8 x 8 pixels in patches of 2, is the
smallest that reads well; the recipe was chosen on the held-out fifth, so its score is no estimate
for other data.
Expected: at least 98 % of the 360 held-out digits, in under two minutes on two CPU cores.

    python launch/main.py --config=configs/mixer_digits.py
"""

from configs import common


def get_config(arg: str = ""):
    """The experiment; `arg` may be "smoke"."""
    config = common.get_config()
    config.model.name = "mixer"
    config.model.patch_size = 2  # 16 tokens.
    config.model.hidden_dim = 64
    config.model.num_blocks = 4
    config.model.tokens_mlp_dim = 32
    config.model.channels_mlp_dim = 128

    config.data.name = "digits"
    config.data.image_size = 8
    config.augment.crop = "inception"
    config.augment.crop_min_area = 0.5

    config.optimizer.name = "adamw"
    config.optimizer.weight_decay = 0.1
    config.schedule.peak_learning_rate = 3e-3
    config.schedule.warmup = "30 steps"

    config.train.duration = "1000 steps"  # 89 epochs.
    config.train.global_batch_size = 128
    config.train.ema_decay = 0.99
    config.evaluation.every = "100 steps"
    config.checkpoint.every = "100 steps"
    return common.variant(config, arg)
