"""Fine-tunes a Vision Transformer, pre-trained by Google on ImageNet-21k: the papers' baseline.

Name size and data behind the colon: b16, b32, l16, l32 or h14 (b16 without a name); cifar10,
cifar100, pets, flowers or imagenet (cifar100); as in l16,pets.
Recipe: that of the Mixers, configs/fine_tuning.py, at 224 pixels, with the learning rates of ViT
(arXiv:2010.11929, appendix B.1.1), and without the layer that these weights have before their head
(section 3.1).
Expected: L/16 85.30 % on ImageNet, and 94.39 % as the mean of the five, at 512 pixels on ImageNet
and 384 on the others (MLP-Mixer, arXiv:2105.01601, table 2). Not run by this project.
Cost: B/16 17.6 GMAC forward, ten thousand steps of 512 pictures: 0.54 EFLOP.
Downloads: the data, and the weights from gs://vit_models/imagenet21k, once.

    python launch/main.py --config=configs/vit_fine_tuning.py:b16,cifar100
"""

from configs import common, fine_tuning

BUCKET = "https://storage.googleapis.com/vit_models/imagenet21k"
FILES = {"b16": "B_16", "b32": "B_32", "l16": "L_16", "l32": "L_32", "h14": "H_14"}


def get_config(arg: str = ""):
    """The experiment; `arg` may be a size, data, "smoke", or several with commas between them."""
    size, data, rest = fine_tuning.split_arg(arg, list(FILES))
    config = fine_tuning.ON[data]()
    config.model.name = f"vit_{size}"
    config.model.pre_logits = False
    config.init.weights = f"{BUCKET}/ViT-{FILES[size]}.npz"
    config.train.grad_accum_steps = 8
    if data != "imagenet":
        config.sweep.grid = ("schedule.peak_learning_rate=0.001,0.003,0.01,0.03",)
    return common.variant(config, rest)
