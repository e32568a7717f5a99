"""Fine-tunes Mixer-L/16, pre-trained by Google on ImageNet-21k, on CIFAR-100 at 224 pixels.

Recipe: MLP-Mixer (arXiv:2105.01601), appendix C, in configs/fine_tuning.py: 10,000 steps of 512
pictures, of which 500 warm up.
Expected: the paper prints no figure for it; its mean over ImageNet, CIFAR-10, CIFAR-100, Pets and
Flowers is 93.63 % for these weights (Table 3). Not yet run in full by this project.
Cost: 10,000 x 512 images at 44.5 GMAC forward, 1.4 EFLOP: 4 hours at 100 TFLOP/s.
Downloads: CIFAR-100 (161 MiB) and the weights (876 MiB), once.

    python launch/main.py --config=configs/mixer_l16_cifar100.py
    python launch/sweep.py --config=configs/mixer_l16_cifar100.py
"""

from configs import common, fine_tuning


def get_config(arg: str = ""):
    """The experiment; `arg` may be "smoke"."""
    config = fine_tuning.on_cifar100()
    config.model.name = "mixer_l16"
    config.init.weights = "imagenet21k/Mixer-L_16"
    config.train.grad_accum_steps = 16  # Micro-batches of 32 are meant for a 16 GiB device.
    return common.variant(config, arg)
