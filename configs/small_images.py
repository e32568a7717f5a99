"""Models at 32 pixels from random weights, in two recipes; no experiment by itself.

Sizes: 64 tokens of 4 x 4 pixels, C = 256, D_C = 1024, D_S = 256, as a course work that compares
all-MLP networks on small pictures reports; it does not tell depth nor recipe. Eight blocks, the
plain recipe, and ViT and ResNet beside them are ours; the strong recipe adds what DeiT
(arXiv:2012.12877, table 9) trains with, and AutoAugment's policy for CIFAR-10 (arXiv:1805.09501).
"""

from ml_collections import ConfigDict

from configs import common


def mixer(config: ConfigDict) -> ConfigDict:
    """4.5 million parameters, 0.34 GMAC a picture."""
    config.model.name = "mixer"
    config.model.patch_size = 4
    config.model.hidden_dim = 256
    config.model.num_blocks = 8
    config.model.tokens_mlp_dim = 256
    config.model.channels_mlp_dim = 1024
    return config


def gmlp(config: ConfigDict) -> ConfigDict:
    """3.2 million parameters, 0.22 GMAC a picture."""
    config.model.name = "gmlp"
    config.model.patch_size = 4
    config.model.hidden_dim = 256
    config.model.num_blocks = 8
    config.model.ffn_dim = 1024
    return config


def smaller_mixer(config: ConfigDict) -> ConfigDict:
    """1.1 million parameters, 0.08 GMAC a picture."""
    config.model.name = "mixer"
    config.model.patch_size = 4
    config.model.hidden_dim = 128
    config.model.num_blocks = 8
    config.model.tokens_mlp_dim = 64
    config.model.channels_mlp_dim = 512
    return config


def smaller_gmlp(config: ConfigDict) -> ConfigDict:
    """1.1 million parameters, 0.08 GMAC a picture."""
    config.model.name = "gmlp"
    config.model.patch_size = 4
    config.model.hidden_dim = 128
    config.model.num_blocks = 9
    config.model.ffn_dim = 640
    return config


def vit(config: ConfigDict) -> ConfigDict:
    """6.4 million parameters, 0.43 GMAC a picture: as wide and deep as the Mixer, four heads."""
    config.model.name = "vit"
    config.model.patch_size = 4
    config.model.hidden_dim = 256
    config.model.num_blocks = 8
    config.model.num_heads = 4
    config.model.mlp_dim = 1024
    return config


def resnet(config: ConfigDict) -> ConfigDict:
    """3.5 million parameters, 0.04 GMAC a picture: three stages of two units."""
    config.model.name = "resnet"
    config.model.units = (2, 2, 2)
    config.model.width_factor = 1
    config.data.permuted_patch = 4  # Those of the others, should patches change places.
    return config


def cifar(name: str) -> ConfigDict:
    """The plain recipe on "cifar10" or "cifar100": 100 epochs, padded crops and flips."""
    config = _recipe()
    config.data.name = name
    config.data.train_split = "train[:98%]"
    config.data.eval_splits = ConfigDict({"validation": "train[98%:]", "test": "test"})
    config.augment.crop = "pad"
    config.augment.crop_padding = 4
    config.train.duration = "100 epochs"
    return config


def strong_cifar(name: str) -> ConfigDict:
    """The strong recipe on "cifar10" or "cifar100": 300 epochs of heavy augmentation."""
    config = _strong(cifar(name))
    config.augment.policy = "autoaugment_cifar10"
    config.train.duration = "300 epochs"
    return config


def smaller_cifar10() -> ConfigDict:
    """The strong recipe on CIFAR-10, less heavy and 100 epochs long, for models of a million."""
    config = strong_cifar("cifar10")
    config.model.stochastic_depth = 0.0
    config.augment.mixup_alpha = 0.2  # Half of the batches; the others go through CutMix.
    config.train.duration = "100 epochs"
    config.schedule.warmup = "5 epochs"
    return config


def pets() -> ConfigDict:
    """The plain recipe on Oxford-IIIT Pets, 3,680 pictures of 37 breeds: 300 epochs."""
    config = _recipe()
    config.data.name = "oxford_iiit_pet"
    config.data.train_split = "train[:90%]"
    config.data.eval_splits = ConfigDict({"validation": "train[90%:]", "test": "test"})
    config.augment.crop = "inception"
    config.augment.crop_min_area = 0.25
    config.train.duration = "300 epochs"
    config.evaluation.every = "10 epochs"
    config.checkpoint.every = "10 epochs"
    return config


def strong_pets() -> ConfigDict:
    """The strong recipe on Pets: 1,000 epochs of heavy augmentation."""
    config = _strong(pets())
    config.augment.policy = "randaugment"
    config.augment.randaugment_magnitude = 10.0
    config.train.duration = "1000 epochs"
    return config


def _recipe() -> ConfigDict:
    """What all have in common."""
    config = common.get_config()
    config.data.image_size = 32
    config.augment.flip = True

    config.optimizer.name = "adamw"
    config.optimizer.weight_decay = 0.1
    config.schedule.name = "cosine"
    config.schedule.peak_learning_rate = 1e-3
    config.schedule.warmup = "5 epochs"

    config.train.global_batch_size = 128
    config.evaluation.best_metric = "validation/top1"
    config.sweep.train_split = "train"
    return config


def _strong(config: ConfigDict) -> ConfigDict:
    """What the strong recipes add."""
    config.model.stochastic_depth = 0.1
    config.model.stochastic_depth_rescaled = True
    config.augment.mixup_alpha = 0.8
    config.augment.cutmix_alpha = 1.0
    config.augment.cutmix_probability = 0.5
    config.loss.label_smoothing = 0.1
    config.schedule.warmup = "10 epochs"
    config.train.ema_decay = 0.999
    return config
