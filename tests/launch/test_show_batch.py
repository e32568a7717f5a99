"""The picture of a batch shows what training really sees."""

import dataclasses
import subprocess
import sys

import jax
import numpy as np
import optax
import pytest
from PIL import Image

from mlp_core.checkpoints.train_state import TrainState
from mlp_core.config import parse_config
from mlp_core.data.pipeline import train_batches
from mlp_core.train.step import make_train_step
from mlp_vision.tasks.classification import ImageClassification
from mlp_vision.tasks.config import AugmentConfig, ImageClassificationConfig
from mlp_vision.tasks.experiment import build_task
from mlp_vision.tools import show_batch
from tests.configs.config_files import load
from tests.conftest import ROOT

STEP = 3


class Witness(ImageClassification):
    """A task that tells the pictures it is trained on."""

    def loss(self, params, batch, rng):
        return optax.tree.norm(params), {"seen": batch["image"]}


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["none", "randaugment"])
def test_what_is_drawn_is_what_the_training_step_sees(data_dir, policy):
    config = load(ROOT / "configs" / "mixer_digits.py", "smoke")
    config.data.data_dir = data_dir
    config.augment.policy, config.augment.mixup_alpha = policy, 0.5
    settings = parse_config(ImageClassificationConfig, config)
    dataset, spec = show_batch._open(settings)
    views, _ = show_batch._training_views(settings, dataset, spec, STEP, count=6)

    task = build_task(settings, dataset, spec)
    task = Witness(**{f.name: getattr(task, f.name) for f in dataclasses.fields(task)})
    step = make_train_step(
        task,
        optax.sgd(0.1),
        lambda step: 0.1,
        key=jax.random.key(settings.seed),
        grad_accum_steps=1,
        ema_decay=0,
    )
    state = TrainState.create(task.init_params(jax.random.key(0)), optax.sgd(0.1), ema=False)
    state = state.replace(step=jax.numpy.asarray(STEP))
    batches = train_batches(task.train_source, 16, settings.seed, STEP, STEP + 1)
    seen = jax.jit(step)(state, next(batches))[1]["seen"]
    np.testing.assert_allclose(2 * views - 1, seen[:6].clip(-1, 1), atol=1e-5)
    assert np.ptp(views) > 0.5


def launch(data_dir, *args):
    flags = ["--config=configs/mixer_digits.py:smoke", f"--config.data.data_dir={data_dir}"]
    return subprocess.run(
        [sys.executable, "launch/show_batch.py", *flags, *args],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@pytest.mark.slow
def test_the_command_draws_a_batch_and_overwrites_nothing(data_dir, tmp_path):
    output = tmp_path / "deep" / "batch.png"
    args = (f"--output={output}", "--rows=2", "--columns=4", "--config.augment.mixup_alpha=1.0")
    run = launch(data_dir, *args)
    assert run.returncode == 0, run.stderr
    assert "8 training pictures, and 4 as evaluation sees them" in run.stdout
    with Image.open(output) as drawn:
        assert min(drawn.size) > 400 and len(np.unique(drawn)) > 100
    before = output.read_bytes()
    again = launch(data_dir, *args)
    assert again.returncode == 2 and "something lies there" in again.stderr
    assert output.read_bytes() == before and list(output.parent.iterdir()) == [output]


@pytest.mark.parametrize(
    "args, message",
    [
        ([], "needs --output=..."),
        (["--output={}/x.png", "--step=20"], "--step=20: the run's steps are 0 to 19"),
        (["--output={}/x.png", "--rows=0"], "rows"),
        (["--output={}/x.png", "--config.augment.mixup_alpha=-1.0"], "config.augment.mixup_alpha"),
    ],
)
def test_mistakes_end_in_a_sentence(data_dir, tmp_path, args, message):
    run = launch(data_dir, *(arg.format(tmp_path) for arg in args))
    assert run.returncode == 2 and message in run.stderr and "Traceback" not in run.stderr
    assert not list(tmp_path.iterdir())


def test_labels_under_pictures_tell_the_shares():
    names = ["cat", "dog", "a_breed_with_a_very_long_name_indeed"]
    assert show_batch._in_shares(np.array([0, 1.0, 0]), names) == "dog"
    assert show_batch._in_shares(np.array([0.3, 0.7, 0]), names) == "dog 0.70\ncat 0.30"
    assert len(show_batch._in_shares(np.array([0, 0, 1.0]), names)) == show_batch.LONGEST_NAME


def test_what_is_switched_on_is_told():
    augment = load(ROOT / "configs" / "mixer_digits.py").augment.to_dict()
    on = {"crop": "pad", "policy": "randaugment", "flip": True, "cutmix_alpha": 1.0}
    told = show_batch.in_words(parse_config(AugmentConfig, augment | on))
    assert told == "crop pad (4 pixels), randaugment (2 at 15), flip, CutMix 1"
    assert show_batch.in_words(parse_config(AugmentConfig, augment | {"crop": "none"})) == "no crop"


def test_names_of_classes_are_drawn_as_they_are_whatever_their_signs():
    names = ["$x^{$", "_y", "a\nb\x1b[31m", "$" * 30]
    shown = [show_batch._shortened(name) for name in names]
    assert shown == [r"\$x^{\$", " _y", r"a\nb\x1b[31m", r"\$" * 21 + "…"]
