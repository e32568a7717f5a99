"""Fine-tunes Mixer-L/16, pre-trained by Google on ImageNet-21k, on ImageNet at 448 pixels.

Recipe: MLP-Mixer (arXiv:2105.01601), appendix C, in configs/fine_tuning.py: 20,000 steps of 512
pictures, of which 500 warm up. There are four times the tokens of pre-training, and the token MLPs
become four times as wide (D_S = 2048), from the weights of 224 pixels.
Expected: 84.15 % of the 50,000 pictures of TFDS's validation split, resized to 512 x 512 and
cropped (paper, Table 2, mean of three). Not yet run in full by this project.
Cost: 20,000 x 512 images at 237.4 GMAC forward, 14.6 EFLOP: 41 hours at 100 TFLOP/s. `:smoke` is
shorter than that of other configs, ten steps of eight pictures.
Downloads: the weights (876 MiB), once. ImageNet (144 GiB) is fetched by hand from image-net.org,
which asks for an account, and prepared with TFDS.

    python launch/main.py --config=configs/mixer_l16_imagenet_448.py
    python launch/sweep.py --config=configs/mixer_l16_imagenet_448.py
"""

from configs import common, fine_tuning


def get_config(arg: str = ""):
    """The experiment; `arg` may be "smoke"."""
    config = fine_tuning.on_imagenet()
    config.model.name = "mixer_l16"
    config.init.weights = "imagenet21k/Mixer-L_16"
    config.data.image_size = 448
    config.data.eval_preset = "resize_crop"
    config.train.grad_accum_steps = 64  # Micro-batches of 8 are meant for a 16 GiB device.
    config = common.variant(config, arg)
    if arg == "smoke":
        config.data.eval_splits.test = "test[:20]"
        config.train.duration = "10 steps"
        config.train.global_batch_size = 8
        config.evaluation.global_batch_size = 8
    return config
