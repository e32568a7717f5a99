"""Figures of models that can be known without measuring are what the measurement tells."""

import json
import os
import subprocess
import sys

import jax
import pytest

from mlp_core.errors import UserError
from mlp_vision.tasks.planning import published_models
from mlp_vision.tools import throughput as throughput_module
from mlp_vision.tools.throughput import FORWARD, STEPS, TRAINING, throughput
from mlp_vision.tools.throughput_report import HEAD, figures, rows, tell_throughput
from tests.configs.config_files import load
from tests.conftest import ROOT

MIXER, GMLP = "mixer_b16_imagenet_scratch", "gmlp_s16_imagenet"
IMAGES_A_DEVICE = 2
S32 = (8, 512, 256, 2048)  # Table 1 of MLP-Mixer: blocks, C, D_S, D_C.
# One narrow block with the tokens of S/32, and the mixup of the recipe left out: quick to compile.
NARROW = dict(num_blocks=1, hidden_dim=128, tokens_mlp_dim=64, channels_mlp_dim=512)


def recipe(name, model, data_dir, **sizes):
    config = load(ROOT / "configs" / f"{name}.py")
    config.model.name = model
    config.model.update(sizes)
    config.augment.mixup_alpha = config.augment.cutmix_alpha = 0.0
    config.data.data_dir = str(data_dir)  # Where nothing is prepared.
    config.train.global_batch_size = IMAGES_A_DEVICE * jax.device_count()
    config.evaluation.global_batch_size = IMAGES_A_DEVICE * jax.device_count()
    return config


def mixer_products(num_blocks, hidden_dim, tokens_mlp_dim, channels_mlp_dim):
    """Operations of the products of one picture, and those of them in the stem."""
    tokens, c, classes = 49, hidden_dim, 1000
    stem = 2 * tokens * (32 * 32 * 3) * c
    block = 2 * (2 * c * tokens * tokens_mlp_dim) + 2 * (2 * tokens * c * channels_mlp_dim)
    return stem + num_blocks * block + 2 * c * classes, stem


def mixer_parameters(num_blocks, hidden_dim, tokens_mlp_dim, channels_mlp_dim):
    tokens, c, classes = 49, hidden_dim, 1000
    norm = 2 * c
    token_mlp = 2 * tokens * tokens_mlp_dim + tokens_mlp_dim + tokens
    channel_mlp = 2 * c * channels_mlp_dim + channels_mlp_dim + c
    stem, head = (32 * 32 * 3 + 1) * c, (c + 1) * classes
    return stem + num_blocks * (2 * norm + token_mlp + channel_mlp) + norm + head


@pytest.fixture(scope="module")
def mixer(tmp_path_factory):
    return throughput(recipe(MIXER, "mixer_s32", tmp_path_factory.mktemp("empty"), **NARROW))


@pytest.mark.slow
def test_parameters_and_products_are_those_of_a_count_by_hand(mixer):
    assert mixer.parameters == mixer_parameters(**NARROW)
    products, stem = mixer_products(**NARROW)
    assert mixer.steps[FORWARD].cost.flops == IMAGES_A_DEVICE * products
    # Two more products for each in the backward pass, but none for a gradient of the pictures.
    assert mixer.steps[TRAINING].cost.flops == IMAGES_A_DEVICE * (3 * products - stem)


@pytest.mark.slow
def test_the_compiler_counts_the_products_and_little_else(mixer):
    for step in mixer.steps.values():
        assert step.cost.flops < step.compiler_flops
    forward = mixer.steps[FORWARD]
    assert forward.compiler_flops == pytest.approx(forward.cost.flops, rel=0.03)
    # The step of Adam goes with the parameters, not with the pictures, which are few here.
    training, of_adam = mixer.steps[TRAINING], 30 * mixer.parameters
    assert training.compiler_flops < 1.05 * training.cost.flops + of_adam


@pytest.mark.slow
def test_arguments_are_the_parameters_two_moments_and_the_batch(mixer):
    size = 4 * mixer.parameters
    batch = IMAGES_A_DEVICE * (224 * 224 * 3 + 4)  # Pixels and the label.
    of_forward, of_training = (mixer.steps[name] for name in STEPS)
    assert of_forward.argument_bytes == pytest.approx(size + batch, abs=1000)
    assert of_training.argument_bytes == pytest.approx(3 * size + batch, abs=1000)
    assert of_training.temporary_bytes > of_forward.temporary_bytes > 0


@pytest.mark.slow
def test_images_a_second_are_those_of_the_median_turn(mixer):
    for step in mixer.steps.values():
        seconds = sorted(step.turns.seconds)[len(step.turns.seconds) // 2]
        assert step.images_per_second == IMAGES_A_DEVICE / seconds
    assert mixer.steps[TRAINING].images_per_second < mixer.steps[FORWARD].images_per_second


def test_gmlp_has_the_products_of_a_count_by_hand(tmp_path):
    measured = throughput(recipe(GMLP, "gmlp_ti16", tmp_path, num_blocks=2), (FORWARD,))
    s, c, f, classes = 196, 128, 768, 1000
    block = 2 * s * c * f + 2 * s * s * (f // 2) + 2 * s * (f // 2) * c
    products = 2 * s * (16 * 16 * 3) * c + 2 * block + 2 * c * classes
    forward = measured.steps[FORWARD]
    assert set(measured.steps) == {FORWARD}
    assert forward.cost.flops == IMAGES_A_DEVICE * products
    assert forward.compiler_flops == pytest.approx(forward.cost.flops, rel=0.05)


@pytest.mark.slow
def test_what_has_no_room_is_not_run_and_told(tmp_path, monkeypatch):
    monkeypatch.setattr(throughput_module, "memory_limit", lambda device: 6e6)
    measured = throughput(recipe(MIXER, "mixer_s32", tmp_path, **NARROW))
    # Parameters have 2.6 MB: they find room, their gradient and two moments do not.
    assert measured.steps[FORWARD].turns is not None and measured.steps[TRAINING].turns is None
    told = figures(measured)
    assert told["forward"]["fits"] and not told["training"]["fits"]
    assert told["training"]["images_per_second"] is None
    of_forward, of_training = rows(measured)
    assert "does not fit" in of_training and "does not fit" not in of_forward


def test_by_default_the_models_of_the_papers_tables_are_measured():
    assert published_models() == [
        *(f"mixer_{size}" for size in ("s32", "s16", "b32", "b16", "l32", "l16", "h14")),
        *(f"gmlp_{size}" for size in ("ti16", "s16", "b16")),
        *(f"vit_{size}" for size in ("b16", "l16", "h14")),
        *("resnet_50x1", "resnet_152x2"),
    ]


@pytest.mark.parametrize(
    ("models", "steps", "message"),
    [
        (["mixer_s32"], ["forward", "back"], "--steps: there is no step 'back'; it is forward or"),
        (["mixer_s32"], [], "name some --models, and some --steps"),
        ([], ["forward"], "name some --models, and some --steps"),
    ],
)
def test_a_mistake_is_told_before_anything_is_compiled(models, steps, message):
    with pytest.raises(UserError, match=message):
        tell_throughput(models, None, steps, None)


def command(*flags):
    return subprocess.run(
        [sys.executable, "launch/throughput.py", *flags],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=600,
    )  # fmt: skip


def measured(folder, *flags):
    """What the command prints, and what it writes of each model, a picture at a time."""
    file = folder / "speed.jsonl"
    run = command("--batch_size=1", f"--json={file}", *flags)
    assert run.returncode == 0, run.stderr
    return run.stdout, [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.slow
def test_the_command_measures_the_smallest_mixer_beside_the_paper(tmp_path):
    printed, [told] = measured(tmp_path, "--models=mixer_s32", "--steps=forward")
    assert told["parameters"] == mixer_parameters(*S32) == 19_104_624
    forward = told["forward"]
    assert forward["compiler_flops"] == pytest.approx(mixer_products(*S32)[0], rel=0.03)
    assert forward["images_per_second"] == pytest.approx(1 / forward["seconds"])
    assert told["paper_images_per_core_second"] == 11489 and told["num_devices"] == 1
    heading, *table = printed.splitlines()
    assert heading == f"1 device of cpu; jax {jax.__version__}, jaxlib {told['jaxlib']}, " + (
        f"flax {told['flax']}"
    )
    assert len(table) == 3 and len({row.count("|") for row in table}) == 1
    assert table[0] == f"| {' | '.join(HEAD)} |"
    assert table[2].startswith("| mixer_s32 | 19,104,624 | forward | ")
    assert table[2].endswith(" | 11,489 |")


@pytest.mark.rare
def test_the_command_measures_several_models_at_another_size_and_precision(tmp_path):
    models = ["mixer_s32", "resnet_50x1"]
    flags = [f"--models={','.join(models)}", "--image_size=32", "--steps=forward"]
    _, told = measured(tmp_path, *flags, "--compute_dtype=bfloat16")
    assert [each["model"] for each in told] == models
    for each in told:
        assert each["image_size"] == 32 and each["compute_dtype"] == "bfloat16"
        assert each["paper_images_per_core_second"] is None
        assert each["forward"]["images_per_second"] > 0 and "training" not in each


def test_the_command_refuses_an_unknown_model():
    run = command("--models=mixer_s32,resmlp_s12")
    assert run.returncode == 2 and "there is no model 'resmlp_s12'" in run.stderr
    assert "Traceback" not in run.stderr and "|" not in run.stdout
