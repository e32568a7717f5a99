"""The recipes of the image configs are the published ones, and their smoke versions train."""

import jax
import pytest

from configs import common
from configs.vtab_tasks import TASKS
from mlp_core.config import parse_config
from mlp_core.data.splits import parts_of
from mlp_core.runs.grid import at_point, parse_grid
from mlp_core.train.durations import Plan
from mlp_core.train.optimizer import (
    check_schedule,
    check_weight_decay,
    make_optimizer,
    make_schedule,
)
from mlp_vision.models.registry import find_model
from mlp_vision.tasks import experiment
from mlp_vision.tasks.config import AugmentConfig, ImageClassificationConfig, LossConfig
from mlp_vision.tasks.model_from_config import wanted_spec
from mlp_vision.weights.loading import expected_params
from tests.configs.config_files import CONFIGS, load
from tests.conftest import ROOT

IMAGE_CONFIGS = [path for path in CONFIGS if load(path).task == "image_classification"]
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
NUM_EXAMPLES = {"imagenet2012": 1_268_355, "imagenet21k": 14_000_000}  # For training.


@pytest.mark.parametrize("path", IMAGE_CONFIGS, ids=lambda path: path.stem)
def test_config_builds_model_schedule_and_optimizer(path):
    settings = parse_config(ImageClassificationConfig, load(path))
    spec = wanted_spec(settings, start=None, num_classes=10)
    scans = "scan_layers" in spec.MODULE.__dataclass_fields__  # Traced sooner.
    model = spec.create_model(**({"scan_layers": True} if scans else {}))
    params = expected_params(model, settings.data.image_size)
    plan = Plan.of(settings, NUM_EXAMPLES.get(settings.data.name, 50_000))
    check_schedule(settings.schedule, plan.total, plan.warmup)
    optimizer = make_optimizer(settings.optimizer, lambda step: 0.1, weight_decay=0.1)
    jax.eval_shape(optimizer.init, params)
    check_weight_decay(settings.optimizer, params)
    assert plan.evaluate_every > 0 and plan.save_every > 0 and plan.report_every > 0


# One of each kind; the others differ in their numbers.
TRAINED = ("mixer_digits", "mixer_b16_cifar100", "gmlp_cifar10_scratch", "vit_cifar10_scratch")
TRAINED_RARELY = (
    *("mixer_b16_imagenet_scratch", "mixer_b16_vtab", "permutations", "gmlp_cifar10_strong"),
    *("vit_fine_tuning", "resnet_fine_tuning", "resnet_hyperrule"),
)


def tiny_smoke(path, data_dir):
    config = load(path, "smoke")
    config.data.data_dir = data_dir
    config.train.duration = "2 steps"
    if config.model.name.startswith("resnet"):
        config.data.image_size = 32  # Convolutions cost more than all else.
    sizes = find_model(config.model.name)[0].SIZES
    narrow = dict(hidden_dim=16, channels_mlp_dim=16, ffn_dim=16, mlp_dim=16, num_heads=2)
    for name, value in narrow.items():
        if name in sizes:
            config.model[name] = value
    if "num_blocks" in sizes:
        config.model.num_blocks = 1  # What costs time is compilation.
    return config


@pytest.mark.parametrize("path", IMAGE_CONFIGS, ids=lambda path: path.stem)
def test_smoke_versions_are_in_order_up_to_compilation(path, tmp_path, data_dir):
    assert experiment.train(tiny_smoke(path, data_dir), tmp_path, dry_run=True) == {}


@pytest.mark.parametrize(
    "name", [*TRAINED, *(pytest.param(name, marks=pytest.mark.rare) for name in TRAINED_RARELY)]
)
def test_smoke_version_trains_two_steps_on_made_data(name, tmp_path, data_dir):
    config = tiny_smoke(ROOT / "configs" / f"{name}.py", data_dir)
    results = experiment.train(config, tmp_path)
    metrics = {f"{s}/{m}" for s in ("validation", "test") for m in ("loss", "top1", "top5")}
    assert set(results) == metrics
    assert (tmp_path / "checkpoints" / "2").is_dir()


@pytest.mark.parametrize("name", ["vit_fine_tuning", "resnet_fine_tuning"])
@pytest.mark.parametrize("data", FINE_TUNING)
def test_baselines_are_fine_tuned_as_mixers_are_but_for_weights_and_rates(name, data):
    path = ROOT / "configs" / f"{name}.py"
    sizes = {"vit_fine_tuning": ["b16", "l32"], "resnet_fine_tuning": ["50x1", "152x2"]}[name]
    assert load(path, f"{sizes[0]},{data}") == load(path, data)
    baseline = load(path, f"{data},{sizes[1]}")
    assert baseline.model.name.endswith(sizes[1])
    assert baseline.init.weights.startswith("https://storage.googleapis.com/")
    mixer = load(ROOT / "configs" / f"mixer_b16_{data}.py")
    for config in (baseline, mixer):
        config.model, config.init.weights, config.sweep.grid = None, None, ()
        config.schedule.peak_learning_rate = config.train.grad_accum_steps = 0
    assert baseline == mixer
    with pytest.raises(ValueError, match="'b17' is none of"):
        load(path, "b17")


@pytest.mark.parametrize(
    "data, image_size, crop_from, mixup, steps, falls",
    [
        ("cifar100", 128, 160, 0.1, 10_000, (3_000, 6_000, 9_000)),
        ("imagenet", 480, 512, 0.1, 20_000, (6_000, 12_000, 18_000)),
        ("pets", 480, 512, 0.0, 500, (200, 300, 400)),
    ],
)
def test_hyperrule_is_that_of_big_transfer(data, image_size, crop_from, mixup, steps, falls):
    path = ROOT / "configs" / "resnet_hyperrule.py"
    settings = parse_config(ImageClassificationConfig, load(path, f"{data},152x4"))
    plan = Plan.of(settings, 50_000)
    assert (settings.model.name, plan.total) == ("resnet_152x4", steps)
    views = (settings.data.image_size, settings.augment.crop_from, settings.augment.mixup_alpha)
    assert views == (image_size, crop_from, mixup)
    rate = make_schedule(settings.schedule, plan.total, plan.warmup, peak=0.003, final=0.0)
    assert settings.schedule.peak_learning_rate == 0.003
    for i, step in enumerate(falls):
        assert float(rate(step)) == pytest.approx(0.003 / 10**i)
        assert float(rate(step + 1)) == pytest.approx(0.003 / 10 ** (i + 1))
    assert list(settings.data.eval_splits) == ["test"]


def test_permutations_are_of_the_same_patches_for_both_models():
    path = ROOT / "configs" / "permutations.py"
    mixer, resnet = (load(path, name) for name in ("mixer", "resnet"))
    assert mixer.data == resnet.data and mixer.data.permuted_patch == mixer.model.patch_size
    assert mixer.sweep.grid == resnet.sweep.grid == ("data.permutation=none,patches,pixels",)
    mixer.model = resnet.model = None
    assert mixer == resnet


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


def vtab(arg):
    return parse_config(
        ImageClassificationConfig, load(ROOT / "configs" / "mixer_b16_vtab.py", arg)
    )


@pytest.mark.parametrize("name", TASKS)
def test_a_task_of_vtab_has_800_200_and_disjoint_test_pictures(name):
    settings = vtab(name)
    assert settings.data.name == TASKS[name].dataset and settings.data.label == TASKS[name].label
    sizes = dict.fromkeys(("train", "validation", "test"), 800_000)
    parts = {
        split: {(where, i) for where, cut in parts_of(text, sizes, sizes.get)
                for i in range(800_000)[cut]}
        for split, text in (
            ("train", settings.data.train_split), *settings.data.eval_splits.items(),
            ("all", settings.sweep.train_split),
        )
    }  # fmt: skip
    assert len(parts["train"]) == 800 and len(parts["validation"]) == 200
    assert parts["all"] == parts["train"] | parts["validation"] and len(parts["all"]) == 1000
    assert parts["test"] and not parts["test"] & parts["all"]


def test_vtab_is_19_tasks_by_the_published_recipe():
    groups = [task.group for task in TASKS.values()]
    assert [groups.count(g) for g in ("natural", "specialized", "structured")] == [7, 4, 8]
    for name, task in TASKS.items():
        settings = vtab(name)
        assert Plan.of(settings, 1000).total == 2500 and settings.train.global_batch_size == 512
        assert settings.sweep.grid == ("schedule.peak_learning_rate=0.003,0.01,0.03",)
        assert settings.optimizer.name == "sgd" and settings.optimizer.weight_decay == 0
        assert settings.data.image_size == task.image_size and task.image_size in (224, 448)
        assert settings.augment.flip == (task.group == "natural" and name != "svhn")
    smoke = vtab("clevr_count,smoke")
    assert (smoke.data.name, smoke.data.label) == ("synthetic", None)
    with pytest.raises(ValueError, match="no task 'clever'; choose from caltech101"):
        vtab("clever")


# Table 4 of MLP-Mixer: magnitude, mixup; and big_vision's for what the paper leaves open.
IMAGENET_SCRATCH = {
    "mixer_b16_imagenet_scratch": (15.0, 0.5, -6.9),
    "mixer_l16_imagenet_scratch": (15.0, 0.5, -6.9),
    "mixer_b16_imagenet21k": (10.0, 0.2, -10.0),
    "mixer_l16_imagenet21k": (20.0, 0.5, -10.0),
}


@pytest.mark.parametrize("name", IMAGENET_SCRATCH)
def test_pre_training_is_the_papers(name):
    settings = parse_config(ImageClassificationConfig, load(ROOT / "configs" / f"{name}.py"))
    magnitude, mixup, head_bias = IMAGENET_SCRATCH[name]
    assert settings.model.name == name[:9]
    augment, optimizer, schedule = settings.augment, settings.optimizer, settings.schedule
    assert (augment.policy, augment.randaugment_layers) == ("randaugment", 2)
    assert (augment.randaugment_magnitude, augment.mixup_alpha) == (magnitude, mixup)
    assert (augment.crop, augment.flip, augment.cutmix_alpha) == ("inception", True, 0)
    assert (settings.loss.name, settings.loss.head_bias) == ("sigmoid", head_bias)
    assert settings.model.stochastic_depth == 0.1 and settings.model.dropout_rate == 0
    assert (optimizer.name, optimizer.beta1, optimizer.beta2) == ("adamw", 0.9, 0.999)
    assert (optimizer.weight_decay, optimizer.clip_global_norm) == (0.1, 1.0)
    assert (schedule.name, schedule.peak_learning_rate) == ("linear", 1e-3)
    assert str(schedule.warmup.amount) == "10000.0" and settings.train.global_batch_size == 4096
    assert settings.train.duration.amount == 300 and settings.train.duration.unit == "epochs"


@pytest.mark.parametrize(
    "size, epochs, rate",
    [
        *[("s32", 5, 3e-3), ("s16", 5, 3e-3), ("b32", 7, 3e-3), ("b16", 7, 3e-3)],
        *[("l32", 7, 1e-3), ("l16", 14, 1e-3), ("h14", 14, 1e-3)],
    ],
)
def test_the_settings_for_large_data_are_the_papers(size, epochs, rate):
    path = ROOT / "configs" / "mixer_large_data.py"
    settings = parse_config(ImageClassificationConfig, load(path, size))
    assert settings.model.name == f"mixer_{size}"
    assert settings.schedule.peak_learning_rate == rate
    assert settings.train.duration.amount == epochs
    assert settings.optimizer.weight_decay == 0.03
    assert (settings.augment.policy, settings.augment.mixes) == ("none", False)
    assert settings.model.stochastic_depth == 0
    assert load(path, f"{size},smoke").train.duration == "20 steps"


@pytest.mark.parametrize(
    "arg, message", [("l61", "no size 'l61'; choose from s32"), ("l16,b16", "no variant 'b16'")]
)
def test_a_size_for_large_data_that_there_is_not_is_told(arg, message):
    with pytest.raises(ValueError, match=message):
        load(ROOT / "configs" / "mixer_large_data.py", arg)


def data_sizes(arg):
    config = load(ROOT / "configs" / "mixer_data_sizes.py", arg)
    points = parse_grid(config, config.sweep.grid)
    return [parse_config(ImageClassificationConfig, at_point(config, point)) for point in points]


def test_sizes_of_data_are_compared_after_the_same_number_of_pictures():
    sizes = {"full": 14_197_122}
    large = data_sizes("large")
    shares = [
        sum(len(range(sizes[s])[cut]) for s, cut in parts_of(m.data.train_split, sizes, sizes.get))
        for m in large
    ]
    whole = 14_197_122 - 51_200
    assert shares == [round(part * whole) for part in (0.03, 0.1, 0.3, 1)] * 2
    assert [m.model.name for m in large] == ["mixer_b32"] * 4 + ["mixer_l32"] * 4
    assert {Plan.of(m, n).total for m, n in zip(large, shares, strict=True)} == {
        round(7 * whole / 4096)
    }
    held_out = set(large[0].data.eval_splits.values())
    assert held_out == {"full[25600:51200]", "full[:25600]"}  # None of it is trained on.


def test_the_trial_of_data_sizes_holds_out_what_it_judges_by_and_trains_no_final_run():
    members = data_sizes("")
    assert len(members) == 6 and {m.sweep.train_split for m in members} == {None}
    assert {m.data.eval_splits["validation"] for m in members} == {"train[98%:]"}
    assert {Plan.of(m, n).total for m in members for n in (500, 49_000)} == {300}
    for arg in ("smoke", "large,smoke"):
        assert {m.data.name for m in data_sizes(arg)} == {"synthetic"}
        assert all(m.data.train_split.startswith("train[:") for m in data_sizes(arg))
        assert {m.sweep.train_split for m in data_sizes(arg)} == {None}
    with pytest.raises(ValueError, match="no sweep 'huge'; choose from cifar10, large"):
        data_sizes("huge")


@pytest.mark.parametrize("size, survival", [("ti16", 1.0), ("s16", 0.95), ("b16", 0.8)])
def test_gmlps_recipe_is_the_papers(size, survival):
    settings = parse_config(
        ImageClassificationConfig, load(ROOT / "configs" / f"gmlp_{size}_imagenet.py")
    )
    augment, optimizer, schedule = settings.augment, settings.optimizer, settings.schedule
    assert settings.model.name == f"gmlp_{size}"
    assert settings.model.stochastic_depth == pytest.approx(1 - survival)
    assert (augment.policy, augment.random_erasing) == ("autoaugment_imagenet", 0)
    assert (augment.mixup_alpha, augment.cutmix_alpha) == (0.8, 1.0)
    assert augment.cutmix_probability == 0.5 and settings.loss.label_smoothing == 0.1
    assert (optimizer.name, optimizer.beta1, optimizer.beta2) == ("adamw", 0.9, 0.999)
    assert (optimizer.epsilon, optimizer.weight_decay) == (1e-6, 0.05)
    assert optimizer.clip_global_norm == 1 and settings.model.dropout_rate == 0
    assert (schedule.name, schedule.peak_learning_rate) == ("cosine", 1e-3)
    assert settings.train.global_batch_size == 4096 and settings.train.ema_decay == 0
    plan = Plan.of(settings, NUM_EXAMPLES["imagenet2012"])
    assert (plan.total, plan.warmup) == (round(300 * 1_268_355 / 4096), 10_000)


@pytest.mark.parametrize("model", ["mixer", "gmlp"])
@pytest.mark.parametrize("data", ["cifar10", "cifar100", "pets"])
@pytest.mark.parametrize("recipe", ["scratch", "strong"])
def test_small_pictures_keep_the_sizes_of_the_comparison(model, data, recipe):
    path = ROOT / "configs" / f"{model}_{data}_{recipe}.py"
    settings = parse_config(ImageClassificationConfig, load(path))
    sizes, size = settings.model, settings.data.image_size
    assert (size, (size // sizes.patch_size) ** 2, sizes.hidden_dim) == (32, 64, 256)
    width = {"mixer": (256, 1024, None), "gmlp": (None, None, 1024)}[model]
    assert (sizes.tokens_mlp_dim, sizes.channels_mlp_dim, sizes.ffn_dim) == width
    assert settings.augment.mixes == (recipe == "strong")
