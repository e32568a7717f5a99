"""The fine-tuning recipe of MLP-Mixer on its five data sets; no experiment by itself.

Source: MLP-Mixer (arXiv:2105.01601), appendix C, which changes that of ViT (arXiv:2010.11929,
appendix B.1.1) in its learning rates and crops; warm-up, crops and flips of training as released in
google-research/vision_transformer and, for Pets and Flowers, google-research/big_vision. The paper
found no consistent gain from Inception crops in fine-tuning; the released code has them.

The paper picks the learning rate from a grid on the held-out part of the training set, then trains
on all of it and tells that run's test result: launch/sweep.py does both. Without a sweep, a config
trains at 0.03, the default of the released code, and holds the same part out.

Other starts are the same field: --config.init.weights=imagenet1k/Mixer-B_16, sam/Mixer-B_16 or
gsam/Mixer-B_16, an npz file or a URL. Hours in the configs are FLOP at 100 TFLOP/s, a guess at what
a data-centre GPU sustains; none was measured.
"""

from ml_collections import ConfigDict

from configs import common


def on_cifar10() -> ConfigDict:
    """50,000 pictures of 32 pixels; squashed, as the released code does to evaluate."""
    config = _recipe(steps="10000 steps", warmup="500 steps")
    config.data.name = "cifar10"
    config.data.train_split = "train[:98%]"
    config.data.eval_splits = ConfigDict({"validation": "train[98%:]", "test": "test"})
    config.data.eval_preset = "squash"
    config.evaluation.every = "1000 steps"
    config.checkpoint.every = "500 steps"
    config.sweep.train_split = "train"
    return config


def on_cifar100() -> ConfigDict:
    """As CIFAR-10, with 100 classes."""
    config = on_cifar10()
    config.data.name = "cifar100"
    return config


def on_pets() -> ConfigDict:
    """Oxford-IIIT Pets: 3,680 training pictures, 37 breeds."""
    config = _recipe(steps="500 steps", warmup="100 steps")
    config.data.name = "oxford_iiit_pet"
    config.data.train_split = "train[:90%]"
    config.data.eval_splits = ConfigDict({"validation": "train[90%:]", "test": "test"})
    config.evaluation.every = "100 steps"
    config.checkpoint.every = "100 steps"
    config.sweep.train_split = "train"
    return config


def on_flowers() -> ConfigDict:
    """Oxford Flowers: 102 kinds; the paper's training set is TFDS's train and validation."""
    config = _recipe(steps="500 steps", warmup="100 steps")
    config.data.name = "oxford_flowers102"
    config.data.train_split = "train[:90%]+validation[:90%]"
    config.data.eval_splits = ConfigDict(
        {"validation": "train[90%:]+validation[90%:]", "test": "test"}
    )
    config.evaluation.every = "100 steps"
    config.checkpoint.every = "100 steps"
    config.sweep.train_split = "train+validation"
    return config


def on_imagenet() -> ConfigDict:
    """ImageNet, as `common.use_imagenet` has it."""
    config = _recipe(steps="20000 steps", warmup="500 steps")
    common.use_imagenet(config)
    config.evaluation.every = "2000 steps"
    config.checkpoint.every = "500 steps"
    return config


def on_few_pictures() -> ConfigDict:
    """The thousand pictures of a task of VTAB-1k, which configs/vtab_tasks.py names."""
    config = _recipe(steps="2500 steps", warmup="100 steps")
    config.data.eval_preset = "squash"
    config.augment.crop = "none"
    config.schedule.peak_learning_rate = 0.01
    config.evaluation.every = "2500 steps"  # Test sets are large beside 1,000 pictures.
    config.evaluation.global_batch_size = 256
    config.checkpoint.every = "500 steps"
    config.sweep.grid = ("schedule.peak_learning_rate=0.003,0.01,0.03",)
    return config


ON = {
    "cifar10": on_cifar10,
    "cifar100": on_cifar100,
    "pets": on_pets,
    "flowers": on_flowers,
    "imagenet": on_imagenet,
}


def split_arg(arg: str, sizes: list[str]) -> tuple[str, str, str]:
    """Size, data and a variant, which a config's argument names in any order.

    Without them the first of `sizes`, CIFAR-100, and none.

    Raises:
        ValueError: it names something else.
    """
    size, data, variant = sizes[0], "cifar100", ""
    for word in filter(None, arg.split(",")):
        if word in sizes:
            size = word
        elif word in ON:
            data = word
        elif word == "smoke":
            variant = word
        else:
            raise ValueError(f"{word!r} is none of {', '.join([*sizes, *ON, 'smoke'])}")
    return size, data, variant


def _recipe(steps: str, warmup: str) -> ConfigDict:
    """What all have in common."""
    config = common.get_config()
    config.init.head = "reset"
    config.data.image_size = 224
    config.data.eval_preset = "resmall_crop"  # Of the paper's Table 3.
    config.augment.crop = "inception"
    config.augment.crop_min_area = 0.05
    config.augment.flip = True

    config.optimizer.name = "sgd"
    config.optimizer.momentum = 0.9
    config.optimizer.momentum_dtype = "bfloat16"
    config.optimizer.weight_decay = 0.0
    config.optimizer.clip_global_norm = 1.0
    config.schedule.name = "cosine"
    config.schedule.peak_learning_rate = 0.03
    config.schedule.final_learning_rate = 0.0
    config.schedule.warmup = warmup

    config.train.duration = steps
    config.train.global_batch_size = 512
    config.evaluation.best_metric = "validation/top1"
    config.sweep.grid = ("schedule.peak_learning_rate=0.003,0.01,0.03,0.06",)
    return config
