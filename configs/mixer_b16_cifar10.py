"""Fine-tunes Mixer-B/16, pre-trained by Google on ImageNet-21k, on CIFAR-10 at 224 pixels.

Recipe: MLP-Mixer (arXiv:2105.01601), appendix C, in configs/fine_tuning.py: 10,000 steps of 512
pictures, of which 500 warm up.
Expected: 96.82 % of the test set's first 9,728 pictures (google-research/vision_transformer). Not
yet run in full by this project.
Cost: 10,000 x 512 images at 12.6 GMAC forward, 0.39 EFLOP: 1.1 hours at 100 TFLOP/s.
Downloads: CIFAR-10 (162 MiB) and the weights (290 MiB), once.

    python launch/main.py --config=configs/mixer_b16_cifar10.py
    python launch/sweep.py --config=configs/mixer_b16_cifar10.py
"""

from configs import common, fine_tuning


def get_config(arg: str = ""):
    """The experiment; `arg` may be "smoke"."""
    config = fine_tuning.on_cifar10()
    config.model.name = "mixer_b16"
    config.init.weights = "imagenet21k/Mixer-B_16"
    config.train.grad_accum_steps = 8  # Micro-batches of 64 are meant for a 16 GiB device.
    return common.variant(config, arg)
