"""Sweeps Mixers of several sizes over training sets of several sizes, for the same number of steps.

After figure 2 (right) of MLP-Mixer (arXiv:2105.01601), where models are trained on 3, 10, 30 and
100 % of JFT-300M for 233, 70, 23 and 7 epochs, as many pictures each. Without a name behind the
colon it is a trial on CIFAR-10, ours: a Mixer of 64 channels and two depths, on 1, 10 and 98 % of
the training set, for so many steps that a CPU does them in minutes. `:large` is the paper's on
ImageNet-21k, for JFT-300M is not public: the settings of configs/mixer_large_data.py with the rate
of L for both sizes, judged by held-out pictures of the same data, where the paper classifies
ImageNet by five pictures a class. `,smoke` may follow.
Expected of the trial, % of CIFAR-10's test pictures, one seed on a CPU, by 1, 10 and 98 % of the
training set: 33.6, 32.6 and 34.1 with two blocks, 34.2, 33.9 and 34.8 with four. So short a run
hardly tells sizes apart: --config.train.duration="20000 steps" gives them time. `:large` has not
been run.
Cost of the trial: six runs of 300 x 128 pictures at 5 and 11 million MAC forward.
Cost of `:large`: eight runs of 99 million pictures at 3.2 (B/32) and 11.3 GMAC (L/32) forward, 34
EFLOP in all.

    python launch/main.py --config=configs/mixer_data_sizes.py
    python launch/sweep.py --config=configs/mixer_data_sizes.py
    python launch/sweep.py --config=configs/mixer_data_sizes.py:large
    python launch/sweep.py --config=configs/mixer_data_sizes.py:large \
        --grid=model.name=mixer_s16,mixer_b16,mixer_l16 \
        --grid='data.train_split=full[51200:475578],full[51200:]'
"""

from ml_collections import ConfigDict

from configs import common, mixer_pretraining, run_fields, small_images

LARGE_EPOCHS = 7  # Of the whole training set.
LARGE_EXAMPLES = 14_197_122 - 51_200  # ImageNet-21k without what is held out.
# 3, 10, 30 and 100 % of it, after the pictures that are held out.
LARGE_SPLITS = "full[51200:475578],full[51200:1465792],full[51200:4294977],full[51200:]"


def get_config(arg: str = ""):
    """The experiment; `arg` may be "cifar10", "large", "smoke", or one of the two and "smoke"."""
    makers = {"cifar10": _on_cifar10, "large": _on_large_data}
    name, rest = run_fields.choice_and_variant(arg, makers, default="cifar10", kind="sweep")
    config = common.variant(makers[name](), rest)
    if rest == "smoke":
        config.sweep.grid = (config.sweep.grid[0], "data.train_split=train[:50%],train[:98%]")
    config.sweep.train_split = None  # Sizes are compared; there is nothing to train anew.
    return config


def _on_cifar10() -> ConfigDict:
    """The plain recipe of configs/small_images.py, shorter, on a Mixer of 64 channels."""
    config = small_images.mixer(small_images.cifar("cifar10"))
    config.model.hidden_dim = 64
    config.model.tokens_mlp_dim = 64
    config.model.channels_mlp_dim = 256
    config.model.num_blocks = 2
    config.train.duration = "300 steps"
    config.schedule.warmup = "30 steps"
    config.evaluation.every = "300 steps"
    config.checkpoint.every = "150 steps"
    config.sweep.grid = (
        "model.num_blocks=2,4",
        "data.train_split=train[:1%],train[:10%],train[:98%]",
    )
    return config


def _on_large_data() -> ConfigDict:
    """ImageNet-21k, 7 epochs of it or as many pictures of a part."""
    config = mixer_pretraining.large_data("mixer_b32", LARGE_EPOCHS, peak_learning_rate=1e-3)
    config.train.duration = f"{LARGE_EPOCHS * LARGE_EXAMPLES} examples"
    config.sweep.grid = ("model.name=mixer_b32,mixer_l32", f"data.train_split={LARGE_SPLITS}")
    return config
