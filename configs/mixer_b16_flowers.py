"""Fine-tunes Mixer-B/16, pre-trained by Google on ImageNet-21k, on Oxford Flowers at 224 pixels.

Recipe: MLP-Mixer (arXiv:2105.01601), appendix C, in configs/fine_tuning.py: 500 steps of 512
pictures, of which 100 warm up.
Expected: the paper prints no figure for it; its mean over ImageNet, CIFAR-10, CIFAR-100, Pets and
Flowers is 92.50 % for these weights (Table 3). Not yet run in full by this project.
Cost: 500 x 512 images at 12.6 GMAC forward, 19 PFLOP: 3 minutes at 100 TFLOP/s.
Downloads: the pictures and labels (329 MiB) and the weights (290 MiB), once.

    python launch/main.py --config=configs/mixer_b16_flowers.py
    python launch/sweep.py --config=configs/mixer_b16_flowers.py
"""

from configs import common, fine_tuning


def get_config(arg: str = ""):
    """The experiment; `arg` may be "smoke"."""
    config = fine_tuning.on_flowers()
    config.model.name = "mixer_b16"
    config.init.weights = "imagenet21k/Mixer-B_16"
    config.train.grad_accum_steps = 8  # Micro-batches of 64 are meant for a 16 GiB device.
    return common.variant(config, arg)
