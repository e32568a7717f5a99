"""Every config builds, and its smoke version trains."""

import importlib.util

import jax
import jax.numpy as jnp
import pytest

from configs import common
from mlp_core.config import parse_config
from mlp_core.grid import at_point, parse_grid
from mlp_core.optimizer import check_weight_decay, make_optimizer, make_schedule
from mlp_core.plan import Plan
from mlp_vision import experiment
from mlp_vision.config import AugmentConfig, ImageClassificationConfig, LossConfig
from mlp_vision.models import create_model
from mlp_vision.sweep import Run, final_run
from tests.conftest import ROOT

MODULES = sorted((ROOT / "configs").glob("*.py"))
# An experiment is what the command can load; other modules are what experiments share.
CONFIGS = [path for path in MODULES if "def get_config(arg" in path.read_text()]
FINE_TUNING = {  # TFDS name, steps, warm-up, train, validation, test, all of training, eval preset.
    "cifar10": (
        "cifar10", 10_000, 500, "train[:98%]", "train[98%:]", "test", "train", "squash"
    ),
    "cifar100": (
        "cifar100", 10_000, 500, "train[:98%]", "train[98%:]", "test", "train", "squash"
    ),
    "pets": (
        "oxford_iiit_pet", 500, 100, "train[:90%]", "train[90%:]", "test", "train", "resmall_crop"
    ),
    "flowers": (
        "oxford_flowers102", 500, 100, "train[:90%]+validation[:90%]",
        "train[90%:]+validation[90%:]", "test", "train+validation", "resmall_crop"
    ),
    "imagenet": (
        "imagenet2012", 20_000, 500, "train[:99%]", "train[99%:]", "validation", "train",
        "resmall_crop"
    ),
}  # fmt: skip


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
    metrics = {f"{s}/{m}" for s in ("validation", "test") for m in ("loss", "top1", "top5")}
    assert set(results) == metrics
    assert (tmp_path / "checkpoints" / "2").is_dir()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_states_its_command(path):
    docstring = path.read_text().split('"""')[1]
    assert f"python launch/main.py --config=configs/{path.name}" in docstring


def test_unknown_variants_are_refused():
    with pytest.raises(ValueError, match="no variant 'smoek'"):
        load(CONFIGS[0], "smoek")


def test_what_has_a_command_is_an_experiment_and_the_rest_is_shared():
    assert CONFIGS
    for path in MODULES:
        assert ("python launch/main.py" in path.read_text()) == (path in CONFIGS), path


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_grid_of_a_config_can_be_swept_also_in_its_smoke_version(path):
    for arg in ("", "smoke"):
        config = load(path, arg)
        if config.sweep.grid:
            members = [
                Run(p, at_point(config, p), path) for p in parse_grid(config, config.sweep.grid)
            ]
            for member in members:
                parse_config(ImageClassificationConfig, member.config)
                parse_config(ImageClassificationConfig, final_run(member, path).config)


@pytest.mark.parametrize("data", FINE_TUNING)
@pytest.mark.parametrize("size", ["b16", "l16"])
def test_the_fine_tuning_recipe_is_the_published_one(size, data):
    settings = parse_config(
        ImageClassificationConfig, load(ROOT / "configs" / f"mixer_{size}_{data}.py")
    )
    plan, splits = Plan.of(settings, 49_000), settings.data.eval_splits
    assert FINE_TUNING[data] == (
        settings.data.name,
        plan.total,
        plan.warmup,
        settings.data.train_split,
        splits["validation"],
        splits["test"],
        settings.sweep.train_split,
        settings.data.eval_preset,
    )
    assert settings.data.image_size == 224
    assert settings.model.name == f"mixer_{size}" and settings.init.head == "reset"
    assert settings.init.weights == f"imagenet21k/Mixer-{size[0].upper()}_16"
    inception = {"crop": "inception", "crop_min_area": 0.05, "flip": True}
    defaults = common.get_config()
    assert settings.augment == parse_config(AugmentConfig, defaults.augment.to_dict() | inception)
    assert settings.loss == parse_config(LossConfig, defaults.loss)
    assert settings.train.global_batch_size == 512
    assert settings.optimizer.name == "sgd" and settings.optimizer.momentum == 0.9
    assert settings.optimizer.momentum_dtype == "bfloat16"
    assert settings.optimizer.clip_global_norm == 1 and settings.optimizer.weight_decay == 0
    assert settings.schedule.name == "cosine" and settings.schedule.final_learning_rate == 0
    assert settings.schedule.peak_learning_rate in (0.003, 0.01, 0.03, 0.06)
    assert settings.sweep.grid == ("schedule.peak_learning_rate=0.003,0.01,0.03,0.06",)
    assert settings.evaluation.best_metric == "validation/top1"


def test_at_448_pixels_only_resolution_crop_and_memory_differ():
    small, large = (load(ROOT / "configs" / f"mixer_l16_imagenet{s}.py") for s in ("", "_448"))
    assert large.data.image_size == 448 and large.data.eval_preset == "resize_crop"
    assert large.model.tokens_mlp_dim is None  # As wide as the resolution asks for.
    large.data.image_size, large.data.eval_preset = 224, "resmall_crop"
    large.train.grad_accum_steps = small.train.grad_accum_steps
    assert large == small
