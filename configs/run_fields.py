"""The fields that every kind of experiment has, with the values they have unless a config says.

A duration is written "10000 steps", "30 epochs" or "50000 examples".
"""

from collections.abc import Callable, Collection

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def new_config(task: str, best_metric: str) -> ConfigDict:
    """The defaults, to which a kind of experiment adds what it has besides.

    Args:
      task: the kind, such as "image_classification".
      best_metric: what its evaluation measures of which more is better, such as "test/top1".
    """
    config = ConfigDict()
    config.task = task
    config.seed = 0  # Of initial parameters, data order and all that is drawn in training.

    config.data = ConfigDict()
    # Processes that make training's examples on the host; 0: threads of this one, which do for a
    # few cores.
    config.data.num_workers = 0

    config.optimizer = ConfigDict()
    config.optimizer.name = "adamw"  # "sgd" or "adamw".
    config.optimizer.momentum = 0.9  # SGD.
    config.optimizer.momentum_dtype = "float32"  # SGD; how the momentum is stored.
    config.optimizer.beta1 = 0.9  # AdamW, like the two that follow.
    config.optimizer.beta2 = 0.999
    config.optimizer.epsilon = 1e-8
    config.optimizer.weight_decay = 0.0  # Decoupled, times the learning rate.
    config.optimizer.weight_decay_pattern = ".*/kernel"  # Regular expression on parameter names.
    # Such as ("encoder/.*=0.1",): a regular expression on parameter names, and what their learning
    # rate is multiplied by; the first that matches counts, and 0 freezes.
    config.optimizer.rate_factors = ()
    config.optimizer.clip_global_norm = 1.0  # Of the gradient; 0: no clipping.

    config.schedule = ConfigDict()
    config.schedule.name = "cosine"  # "cosine", "linear", "constant" or "steps".
    config.schedule.peak_learning_rate = 1e-3
    config.schedule.final_learning_rate = 0.0
    config.schedule.warmup = "0 steps"
    config.schedule.decay_at = ()  # Steps: shares of the run at which the rate falls to a tenth.

    config.train = ConfigDict()
    config.train.duration = "10 epochs"
    config.train.global_batch_size = 512  # Over all devices and hosts.
    config.train.grad_accum_steps = 1  # Micro-batches a step; the update is that of one batch.
    config.train.compute_dtype = "auto"  # "bfloat16", "float32"; auto: float32 on CPU only.
    # Decay of a moving average of the parameters, which is then evaluated and exported; 0: no
    # average. Update t, from 0, uses min(ema_decay, (1 + t) / (10 + t)), so that the average
    # forgets the initial parameters also in short runs.
    config.train.ema_decay = 0.0
    # One program for all blocks: deep models compile quickly. Patterns on names then see
    # GmlpBlocks/... in place of GmlpBlock_0/..., GmlpBlock_1/... and so on.
    config.train.scan_layers = False
    # What the backward pass computes anew to save memory: "none", "blocks" (all but their inputs),
    # or "dots" (all but the products with weights).
    config.train.remat = "none"
    config.train.stall_limit = 30.0  # Minutes without any progress that end a run; 0: no limit.

    config.sharding = ConfigDict()  # May be changed when a run goes on.
    config.sharding.model_parallel = 1  # Devices that share each model; the others split batches.
    # How the training state lies on the devices: "replicated", "fsdp" (split over those that split
    # batches), "tensor" (over those that share a model) or "fsdp+tensor".
    config.sharding.layout = "replicated"
    # Such as ("head/.*=replicated", ".*/kernel=fsdp", "stem/kernel=-,-,-,model"), ahead of the
    # layout's: a regular expression on parameter names, and where they lie; the first that matches
    # counts.
    config.sharding.rules = ()

    config.evaluation = ConfigDict()
    config.evaluation.every = "1 epoch"  # Besides at the start and at the end; 0: only then.
    config.evaluation.global_batch_size = 512
    config.evaluation.best_metric = best_metric  # By which a checkpoint is the best one.

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


def choice_and_variant(
    arg: str, choices: Collection[str], default: str, kind: str
) -> tuple[str, str]:
    """What the text behind a config's colon chooses, `default` if nothing, and its variant.

    Raises:
        ValueError: it chooses something else; names the `choices` of this `kind`.
    """
    if arg in ("", "smoke"):
        return default, arg
    choice, _, rest = arg.partition(",")
    if choice not in choices:
        raise ValueError(f"there is no {kind} {choice!r}; choose from {', '.join(choices)}")
    return choice, rest


def variant(config: ConfigDict, arg: str, shrink: Callable[[ConfigDict], None]) -> ConfigDict:
    """Applies the text behind the colon of `--config=FILE:arg`: nothing, or "smoke".

    Smoke keeps the experiment's width, resolution or length, optimizer and pipeline, and shrinks
    the rest: a few blocks and steps, random initial weights, and the data that `shrink`
    puts in place of downloads.
    """
    if arg == "smoke":
        shrink(config)
        config.train.duration = "20 steps"
        config.train.global_batch_size = 16
        config.train.grad_accum_steps = 1
        config.schedule.warmup = "2 steps"
        config.evaluation.every = "10 steps"
        config.evaluation.global_batch_size = 16
        config.checkpoint.every = "10 steps"
        config.log.every = "5 steps"
    elif arg:
        raise ValueError(f"there is no variant {arg!r}; a config may be followed by ':smoke'")
    return config
