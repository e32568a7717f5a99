"""Every field of an image classification experiment, with the value it has unless a config says.

Those that every kind of experiment has are in `configs/run_fields.py`.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from configs import run_fields


def get_config() -> ConfigDict:
    """The defaults. A placeholder is None until it is set."""
    config = run_fields.new_config("image_classification", best_metric="test/top1")

    config.model = ConfigDict()
    # mixer_{s32,s16,s8,b32,b16,l32,l16,h14}, {gmlp,tmlp,amlp}_{ti16,s16,b16},
    # vit_{ti16,s32,s16,b32,b16,l32,l16,h14}, resnet_{50x1,50x3,101x1,101x3,152x2,152x4}; or mixer,
    # gmlp, tmlp, amlp, vit, resnet with the sizes below, which are None for: as the name says.
    config.model.name = "mixer_b16"
    config.model.patch_size = placeholder(int)  # Pixels.
    config.model.hidden_dim = placeholder(int)  # C, channels of a token.
    config.model.num_blocks = placeholder(int)
    config.model.tokens_mlp_dim = placeholder(int)  # Mixer: D_S, hidden width of the token MLP.
    config.model.channels_mlp_dim = placeholder(int)  # Mixer: D_C, that of the channel MLP.
    config.model.ffn_dim = placeholder(int)  # gMLP: width that a block expands to.
    config.model.gating = placeholder(str)  # gMLP: split, multiplicative, additive or linear.
    config.model.spatial_matrix = placeholder(str)  # gMLP: full, or toeplitz for tMLP.
    config.model.tiny_attention_dim = placeholder(int)  # gMLP: size of aMLP's head; 0: none.
    config.model.pooling = placeholder(str)  # gMLP: mean, or class_token (with pre-logits).
    config.model.num_heads = placeholder(int)  # ViT: of its attention.
    config.model.mlp_dim = placeholder(int)  # ViT: hidden width of its MLPs.
    config.model.pre_logits = placeholder(bool)  # ViT: whether a layer precedes the head.
    config.model.units = placeholder(tuple)  # ResNet: how many in each stage.
    config.model.width_factor = placeholder(int)  # ResNet: what 64 channels are multiplied by.
    config.model.num_classes = placeholder(int)  # None: as many as the data set has.
    config.model.gelu = placeholder(str)  # "tanh" or "erf". None: as in the weights, else tanh.
    config.model.layer_norm_epsilon = placeholder(float)  # None: as in the weights, else 1e-6.
    config.model.gate_layer_norm_epsilon = placeholder(float)  # gMLP: likewise, inside its gate.
    config.model.dropout_rate = 0.0
    config.model.stochastic_depth = 0.0  # Drop probability of the last block; 0 in the first.
    config.model.stochastic_depth_rescaled = False  # Whether what is kept is divided by 1 - rate.

    config.init = ConfigDict()
    # A published name (imagenet21k/Mixer-B_16, sam/Mixer-B_16, gsam/Mixer-B_16 ...), a model on
    # the Hugging Face hub (hf://timm/...), a URL, a file, or the folder of a run. None: random.
    config.init.weights = placeholder(str)
    config.init.mirror = placeholder(str)  # Folder or URL that holds imagenet21k/Mixer-B_16.npz.
    config.init.head = "reset"  # reset: zeros; keep: the file's; auto: keep if class counts agree.

    config.data.name = "cifar10"  # A TFDS name, or a path: see open_image_dataset.
    # What to classify by: another feature, or a label that is made of some, clevr_count,
    # clevr_distance, kitti_distance, dsprites_location or dsprites_orientation. None: `label`.
    config.data.label = placeholder(str)
    config.data.data_dir = placeholder(str)  # None: $TFDS_DATA_DIR or ~/tensorflow_datasets.
    config.data.train_split = "train"
    config.data.eval_splits = ConfigDict({"test": "test"})  # Name in the metrics: TFDS split.
    config.data.image_size = 32  # Pixels a side, as the model sees it.
    # squash, resize_crop, resmall_crop or timm. None: as in the weights, else squash.
    config.data.eval_preset = placeholder(str)
    # Of pixels, as the model sees them. None: as in the weights, else -1 to 1.
    config.data.value_range = placeholder(tuple)
    # The same of every picture's pixels: none, patches or pixels (MLP-Mixer, section 3.4). None: as
    # in the weights, else none.
    config.data.permutation = placeholder(str)
    # Pixels a side of the patches. None: as in the weights, else those of the model, else 16.
    config.data.permuted_patch = placeholder(int)
    # real.json of google-research/reassessed-imagenet, a file or a URL: ImageNet's validation
    # pictures are then judged by it, too, as top1_real.
    config.data.real_labels = placeholder(str)

    config.augment = ConfigDict()
    config.augment.crop = "none"  # "inception", "pad", "squash" or "none".
    config.augment.crop_min_area = 0.05  # Inception: least share of the picture that is kept.
    config.augment.crop_padding = 4  # Pad: black pixels a side, of which a random crop keeps some.
    config.augment.crop_from = placeholder(int)  # Squash: pixels a side, of which a crop is taken.
    config.augment.flip = False  # Left to right, with probability 1/2.
    # "none", "randaugment", "autoaugment_imagenet" or "autoaugment_cifar10"; on the host.
    config.augment.policy = "none"
    config.augment.randaugment_layers = 2  # Operations a picture.
    config.augment.randaugment_magnitude = 15.0  # Of each, out of 10.
    config.augment.random_erasing = 0.0  # Probability that a box of a picture becomes noise.
    config.augment.mixup_alpha = 0.0  # Weights are drawn from Beta(alpha, alpha); 0: no mixup.
    config.augment.cutmix_alpha = 0.0  # Areas are drawn from Beta(alpha, alpha); 0: no CutMix.
    config.augment.cutmix_probability = 0.5  # Of CutMix for a batch, where mixup is on as well.

    config.loss = ConfigDict()
    config.loss.name = "softmax"  # "softmax", or "sigmoid": a yes or no for each class, summed.
    config.loss.label_smoothing = 0.0  # Part of a label that is spread over all classes.
    config.loss.head_bias = 0.0  # Of a new head; about -ln(classes), as -6.9, goes with sigmoid.
    return config


def use_imagenet(config: ConfigDict) -> None:
    """ImageNet (ILSVRC 2012); its 50,000 validation pictures, as TFDS names them, are the test."""
    config.data.name = "imagenet2012"
    config.data.train_split = "train[:99%]"
    config.data.eval_splits = ConfigDict({"validation": "train[99%:]", "test": "validation"})
    config.evaluation.best_metric = "validation/top1"
    config.sweep.train_split = "train"


def variant(config: ConfigDict, arg: str) -> ConfigDict:
    """Applies the text behind the colon of `--config=FILE:arg`; see `run_fields.variant`.

    Smoke is on made pictures.
    """
    return run_fields.variant(config, arg, _smoke)


def _smoke(config: ConfigDict) -> None:
    if config.model.name.startswith("resnet"):
        config.model.units = (1, 1)
    else:
        config.model.num_blocks = 2
    config.init.weights = None
    config.data.name = "synthetic"
    config.data.label = None
    config.data.train_split = "train[:98%]"
    config.data.eval_splits = ConfigDict({"validation": "train[98%:]", "test": "test"})
    config.evaluation.best_metric = "validation/top1"
    config.sweep.train_split = "train"
