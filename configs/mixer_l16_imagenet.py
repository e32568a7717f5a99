"""Fine-tunes Mixer-L/16, pre-trained by Google on ImageNet-21k, on ImageNet at 224 pixels.

Recipe: MLP-Mixer (arXiv:2105.01601), appendix C, in configs/fine_tuning.py: 20,000 steps of 512
pictures, of which 500 warm up.
Expected: 82.89 % of the 50,000 pictures of TFDS's validation split (paper, Table 3, mean of three).
Not yet run in full by this project.
Cost: 20,000 x 512 images at 44.5 GMAC forward, 2.7 EFLOP: 8 hours at 100 TFLOP/s.
Downloads: the weights (876 MiB), once. ImageNet (144 GiB) is fetched by hand from image-net.org,
which asks for an account, and prepared with TFDS.

    python launch/main.py --config=configs/mixer_l16_imagenet.py
    python launch/sweep.py --config=configs/mixer_l16_imagenet.py
"""

from configs import common, fine_tuning


def get_config(arg: str = ""):
    """The experiment; `arg` may be "smoke"."""
    config = fine_tuning.on_imagenet()
    config.model.name = "mixer_l16"
    config.init.weights = "imagenet21k/Mixer-L_16"
    config.train.grad_accum_steps = 16  # Micro-batches of 32 are meant for a 16 GiB device.
    return common.variant(config, arg)
