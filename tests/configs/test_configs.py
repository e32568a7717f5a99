"""Every config builds, and its smoke version trains."""

import importlib.util

import jax
import jax.numpy as jnp
import pytest

from mlp_core.config import parse_config
from mlp_core.optimizer import check_weight_decay, make_optimizer, make_schedule
from mlp_core.plan import Plan
from mlp_vision import experiment
from mlp_vision.config import ImageClassificationConfig
from mlp_vision.models import create_model
from tests.conftest import ROOT

CONFIGS = sorted(
    path for path in (ROOT / "configs").glob("*.py") if path.stem not in ("__init__", "common")
)


def load(path, arg=""):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(arg)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_builds_model_schedule_and_optimizer(path):
    settings = parse_config(ImageClassificationConfig, load(path))
    sizes = {
        name: value
        for name, value in vars(settings.model).items()
        if name.endswith(("_dim", "_size", "_blocks")) and value is not None
    }
    model = create_model(settings.model.name, 10, **sizes)
    size = settings.data.image_size
    images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    params = jax.eval_shape(model.init, jax.random.key(0), images)["params"]
    plan = Plan.of(settings, 50_000)
    schedule = make_schedule(settings.schedule, plan.total, plan.warmup)
    jax.eval_shape(make_optimizer(settings.optimizer, schedule).init, params)
    check_weight_decay(settings.optimizer, params)
    assert plan.evaluate_every > 0 and plan.save_every > 0 and plan.report_every > 0


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_smoke_version_trains_two_steps_on_made_data(path, tmp_path, data_dir):
    config = load(path, "smoke")
    config.data.data_dir = data_dir
    config.train.duration = "2 steps"
    config.model.hidden_dim = 16  # The width alone is what costs time.
    config.model.channels_mlp_dim = 16
    results = experiment.train(config, tmp_path)
    assert set(results) == {"test/loss", "test/top1", "test/top5"}
    assert (tmp_path / "checkpoints" / "2").is_dir()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_states_its_command(path):
    docstring = path.read_text().split('"""')[1]
    assert f"python launch/main.py --config=configs/{path.name}" in docstring


def test_unknown_variants_are_refused():
    with pytest.raises(ValueError, match="no variant 'smoek'"):
        load(CONFIGS[0], "smoek")


def test_the_fine_tuning_recipe_is_the_published_one():
    settings = parse_config(
        ImageClassificationConfig, load(ROOT / "configs" / "mixer_b16_cifar100.py")
    )
    assert settings.init.weights == "imagenet21k/Mixer-B_16" and settings.init.head == "reset"
    assert Plan.of(settings, 49_000) == Plan(
        total=10_000, warmup=500, evaluate_every=1000, save_every=500, report_every=50
    )
    assert settings.train.global_batch_size == 512
    assert settings.optimizer.name == "sgd" and settings.optimizer.momentum == 0.9
    assert settings.optimizer.clip_global_norm == 1 and settings.optimizer.weight_decay == 0
    assert settings.schedule.name == "cosine"
    assert settings.schedule.peak_learning_rate in (0.003, 0.01, 0.03, 0.06)
