"""Fine-tunes Mixer-B/16, pre-trained by Google on ImageNet-21k, on CIFAR-100 at 224 pixels.

Recipe: MLP-Mixer (arXiv:2105.01601), appendix C, as released in google-research/vision_transformer:
SGD with momentum 0.9 kept in bfloat16, batch 512, 10,000 steps of which 500 warm up, cosine decay
to zero, gradient clipped at norm 1, no weight decay, zero head; Inception crops and flips. The
paper picks the learning rate from {0.003, 0.01, 0.03, 0.06} on the last 2 % of the training set.

Expected: the paper prints no CIFAR-100 figure; its mean over ImageNet, CIFAR-10, CIFAR-100, Pets
and Flowers is 92.50 % for these weights. Not yet run in full by this project.
Cost: 10,000 x 512 images at 12.6 GMAC forward, about 0.4 EFLOP: an hour or so on one
data-centre GPU; weeks on a laptop CPU, where `:smoke` shows that everything works.
Downloads: CIFAR-100 (161 MiB) and the weights (290 MiB), once.

    python launch/main.py --config=configs/mixer_b16_cifar100.py
"""

from configs import common


def get_config(arg: str = ""):
    """The experiment; `arg` may be "smoke"."""
    config = common.get_config()
    config.model.name = "mixer_b16"
    config.init.weights = "imagenet21k/Mixer-B_16"
    config.init.head = "reset"

    config.data.name = "cifar100"
    config.data.train_split = "train[:98%]"
    config.data.eval_splits = {"validation": "train[98%:]", "test": "test"}
    config.data.image_size = 224
    config.data.eval_preset = "squash"
    config.augment.crop = "inception"
    config.augment.crop_min_area = 0.05
    config.augment.flip = True

    config.optimizer.name = "sgd"
    config.optimizer.momentum = 0.9
    config.optimizer.momentum_dtype = "bfloat16"
    config.optimizer.clip_global_norm = 1.0
    config.schedule.name = "cosine"
    config.schedule.peak_learning_rate = 0.03
    config.schedule.warmup = "500 steps"

    config.train.duration = "10000 steps"
    config.train.global_batch_size = 512
    config.train.grad_accum_steps = 8  # Micro-batches of 64 fit a 16 GiB device.
    config.evaluation.every = "1000 steps"
    config.evaluation.best_metric = "validation/top1"
    config.checkpoint.every = "500 steps"
    return common.variant(config, arg)
