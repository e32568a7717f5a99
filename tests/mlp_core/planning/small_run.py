"""A run that compiles in seconds, to be planned."""

import dataclasses

import jax

from mlp_core.planning.planner import Planner
from mlp_vision.tasks.planning import planned_run
from tests.configs.config_files import load
from tests.conftest import ROOT


def small_config(data_dir):
    config = load(ROOT / "configs" / "mixer_digits.py")
    config.data.data_dir = str(data_dir)  # Where nothing is prepared.
    config.model.num_blocks = 1
    config.train.global_batch_size = config.evaluation.global_batch_size = 64
    config.train.ema_decay = 0.0
    config.augment.crop = "none"
    config.optimizer.name = "sgd"
    return config


def small_planner(data_dir, **fields):
    planner = Planner(small_config(data_dir), planned_run, None, jax.devices(), None)
    return dataclasses.replace(planner, **fields)
