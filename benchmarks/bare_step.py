"""A small Mixer, its task, and its training step alone: what benchmarks of the step share."""

import time
from pathlib import Path

import jax

from configs import common
from mlp_core.config import parse_config
from mlp_core.data.pipeline import train_batches
from mlp_core.distributed.mesh import make_mesh, put_batch, put_whole
from mlp_core.train.durations import Plan
from mlp_core.train.programs import make_programs
from mlp_vision.data.image_dataset import open_image_dataset
from mlp_vision.tasks.classification import ImageClassification
from mlp_vision.tasks.config import ImageClassificationConfig
from mlp_vision.tasks.experiment import build_task
from mlp_vision.tasks.model_from_config import wanted_spec

WARM_UP_STEPS = 5  # Not timed.


def small_mixer_config(
    data_dir: Path, *, hidden_dim: int, num_blocks: int, batch_size: int, steps: int, **log: str
) -> ImageClassificationConfig:
    """Proportions and augmentation of configs/mixer_cifar10_scratch.py, smaller, made pictures."""
    config = common.get_config()
    config.model.name = "mixer"
    config.model.patch_size = 4
    config.model.hidden_dim = hidden_dim
    config.model.num_blocks = num_blocks
    config.model.tokens_mlp_dim = hidden_dim
    config.model.channels_mlp_dim = 4 * hidden_dim
    config.data.name = "synthetic"
    config.data.data_dir = str(data_dir)
    config.augment.crop = "inception"
    config.augment.crop_min_area = 0.25
    config.augment.flip = True
    config.optimizer.weight_decay = 0.1
    config.train.duration = f"{steps} steps"
    config.train.global_batch_size = batch_size
    config.evaluation.every = "0 steps"
    config.evaluation.global_batch_size = batch_size
    config.checkpoint.every = "0 steps"
    config.log.update(log)
    return parse_config(ImageClassificationConfig, config)


def make_task(settings: ImageClassificationConfig) -> ImageClassification:
    """The task of an experiment, with its data set prepared and read."""
    dataset = open_image_dataset(settings.data.name, settings.data.data_dir)
    return build_task(settings, dataset, wanted_spec(settings, None, dataset.num_classes))


class BareStep:
    """The training step compiled as the loop compiles it, its state, and one batch."""

    def __init__(self, config: ImageClassificationConfig):
        """Compiles the step and puts one batch of the experiment on the devices."""
        task, mesh = make_task(config), make_mesh()
        plan = Plan.of(config, len(task.train_source))
        programs = make_programs(task, config, plan, mesh)
        self._steps = plan.total
        self._state = programs.create_random(jax.random.key(config.seed))
        self._numbers = put_whole(programs.numbers, mesh)
        batches = train_batches(
            task.train_source, config.train.global_batch_size, config.seed, 0, 1
        )
        self._batch = put_batch(next(batches), mesh)
        self._step = programs.train_step.lower(self._state, self._numbers, self._batch).compile()

    def mean_seconds(self) -> float:
        """Mean step time over as many steps as a run has, after a few to warm up; donated state."""
        self._run(WARM_UP_STEPS)
        started = time.perf_counter()
        self._run(self._steps)
        return (time.perf_counter() - started) / self._steps

    def _run(self, steps: int) -> None:
        for _ in range(steps):
            self._state, _ = self._step(self._state, self._numbers, self._batch)
        jax.block_until_ready(self._state)
