"""Trains a Mixer of any size on a large data set of your own, as the paper did on JFT-300M.

Recipe: MLP-Mixer (arXiv:2105.01601), table 4, in configs/mixer_pretraining.py: Inception crops and
flips alone. Name the size behind the colon, s32, s16, b32, b16 (without a name), l32, l16 or h14,
and the data set; "smoke" may follow, as in l16,smoke. Without a name the data are ImageNet-21k's,
the largest public ones.
Expected: after JFT-300M and fine-tuning on ImageNet at 224 pixels, 68.70 % (s32), 73.83 % (s16),
75.53 % (b32), 80.00 % (b16), 80.67 % (l32), 84.82 % (l16) and 86.32 % (h14) (paper, Table 3). Not
run by this project, since JFT-300M is not public.
Cost in the paper, in core-days of a TPU v3: 10, 30, 50, 80, 120, 450 and 1,010.

    python launch/main.py --config=configs/mixer_large_data.py:l16 --config.data.name=/data/mine \
        --config.data.train_split=train --config.loss.head_bias=-8.5 \
        --config.data.eval_splits="{'validation': 'validation', 'test': 'test'}"

A head bias of -ln(classes), -8.5 for 5,000, makes all classes equally unlikely at first.
"""

from configs import common, mixer_pretraining, run_fields

# Epochs and peak learning rate. L/16 was trained for 7 epochs, too (84.05 %), L/32 for 7 alone.
SETTINGS = {
    "s32": (5, 3e-3),
    "s16": (5, 3e-3),
    "b32": (7, 3e-3),
    "b16": (7, 3e-3),
    "l32": (7, 1e-3),
    "l16": (14, 1e-3),
    "h14": (14, 1e-3),
}


def get_config(arg: str = ""):
    """The experiment; `arg` may be a size, "smoke", or both with a comma between them."""
    size, rest = run_fields.choice_and_variant(arg, SETTINGS, default="b16", kind="size")
    epochs, peak_learning_rate = SETTINGS[size]
    config = mixer_pretraining.large_data(f"mixer_{size}", epochs, peak_learning_rate)
    return common.variant(config, rest)
