"""Every field of an image classification experiment, with the value it has unless a config says.

A duration is written "10000 steps", "30 epochs" or "50000 examples".
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
    """The defaults. A placeholder is None until it is set."""
    config = ConfigDict()
    config.task = "image_classification"
    config.seed = 0  # Of initial parameters, data order and augmentation.

    config.model = ConfigDict()
    # mixer_{s32,s16,s8,b32,b16,l32,l16,h14}, {gmlp,tmlp,amlp}_{ti16,s16,b16}; or mixer, gmlp, tmlp,
    # amlp with the sizes below, which are None for: as the name says.
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

    config.data = ConfigDict()
    config.data.name = "cifar10"  # A TFDS name, or a path: see open_image_dataset.
    config.data.data_dir = placeholder(str)  # None: $TFDS_DATA_DIR or ~/tensorflow_datasets.
    config.data.train_split = "train"
    config.data.eval_splits = ConfigDict({"test": "test"})  # Name in the metrics: TFDS split.
    config.data.image_size = 32  # Pixels a side, as the model sees it.
    # Processes that make training's views on the host, of photographs or by a policy; 0: threads of
    # this one, which do for a few cores.
    config.data.num_workers = 0
    # squash, resize_crop, resmall_crop or timm. None: as in the weights, else squash.
    config.data.eval_preset = placeholder(str)
    # Of pixels, as the model sees them. None: as in the weights, else -1 to 1.
    config.data.value_range = placeholder(tuple)

    config.augment = ConfigDict()
    config.augment.crop = "none"  # "inception", "pad" or "none".
    config.augment.crop_min_area = 0.05  # Inception: least share of the picture that is kept.
    config.augment.crop_padding = 4  # Pad: black pixels a side, of which a random crop keeps some.
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

    config.optimizer = ConfigDict()
    config.optimizer.name = "adamw"  # "sgd" or "adamw".
    config.optimizer.momentum = 0.9  # SGD.
    config.optimizer.momentum_dtype = "float32"  # SGD; how the momentum is stored.
    config.optimizer.beta1 = 0.9  # AdamW, like the two that follow.
    config.optimizer.beta2 = 0.999
    config.optimizer.epsilon = 1e-8
    config.optimizer.weight_decay = 0.0  # Decoupled, times the learning rate.
    config.optimizer.weight_decay_pattern = ".*/kernel"  # Regular expression on parameter names.
    config.optimizer.clip_global_norm = 1.0  # Of the gradient; 0: no clipping.

    config.schedule = ConfigDict()
    config.schedule.name = "cosine"  # "cosine", "linear" or "constant".
    config.schedule.peak_learning_rate = 1e-3
    config.schedule.final_learning_rate = 0.0
    config.schedule.warmup = "0 steps"

    config.train = ConfigDict()
    config.train.duration = "10 epochs"
    config.train.global_batch_size = 512  # Over all devices and hosts.
    config.train.grad_accum_steps = 1  # Micro-batches a step; the update is that of one batch.
    config.train.compute_dtype = "auto"  # "bfloat16", "float32"; auto: float32 on CPU only.
    config.train.ema_decay = 0.0  # Of an average of the parameters, to evaluate; 0: none is kept.

    config.evaluation = ConfigDict()
    config.evaluation.every = "1 epoch"  # Besides at the start and at the end; 0: only then.
    config.evaluation.global_batch_size = 512
    config.evaluation.best_metric = "test/top1"  # Which checkpoint is the best one.

    config.checkpoint = ConfigDict()
    config.checkpoint.every = "1 epoch"  # Besides at the end; 0: only then.
    config.checkpoint.keep_latest = 2
    config.checkpoint.keep_best = 1

    config.log = ConfigDict()
    config.log.every = "50 steps"

    config.sweep = ConfigDict()  # Of launch/sweep.py; a run by itself does not look at it.
    config.sweep.grid = ()  # Such as ("optimizer.momentum=0.8,0.9",); several: their product.
    config.sweep.train_split = placeholder(str)  # All of training, for the final run; None: none.
    return config


def use_imagenet(config: ConfigDict) -> None:
    """ImageNet (ILSVRC 2012); its 50,000 validation pictures, as TFDS names them, are the test."""
    config.data.name = "imagenet2012"
    config.data.train_split = "train[:99%]"
    config.data.eval_splits = ConfigDict({"validation": "train[99%:]", "test": "validation"})
    config.evaluation.best_metric = "validation/top1"
    config.sweep.train_split = "train"


def variant(config: ConfigDict, arg: str) -> ConfigDict:
    """Applies the text behind the colon of `--config=FILE:arg`: nothing, or "smoke".

    Smoke keeps the experiment's width, resolution, optimizer and pipeline, and shrinks the rest:
    two blocks, made pictures in place of downloads, random initial weights, a few steps.
    """
    if arg == "smoke":
        config.model.num_blocks = 2
        config.init.weights = None
        config.data.name = "synthetic"
        config.data.train_split = "train[:98%]"
        config.data.eval_splits = ConfigDict({"validation": "train[98%:]", "test": "test"})
        config.train.duration = "20 steps"
        config.train.global_batch_size = 16
        config.train.grad_accum_steps = 1
        config.schedule.warmup = "2 steps"
        config.evaluation.every = "10 steps"
        config.evaluation.global_batch_size = 16
        config.evaluation.best_metric = "validation/top1"
        config.checkpoint.every = "10 steps"
        config.log.every = "5 steps"
        config.sweep.train_split = "train"
    elif arg:
        raise ValueError(f"there is no variant {arg!r}; a config may be followed by ':smoke'")
    return config
