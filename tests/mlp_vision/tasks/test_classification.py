"""The task: what its augmentation, loss and evaluation make of a configuration."""

import dataclasses
import shutil

import jax
import numpy as np
import optax
import pytest
from orbax.checkpoint import v1 as ocp

from mlp_core.config import parse_config
from mlp_core.errors import UserError
from mlp_core.run_folder.metrics import read_metrics
from mlp_vision.augment import augmentation
from mlp_vision.tasks import experiment
from mlp_vision.tasks.config import AugmentConfig, ImageClassificationConfig
from mlp_vision.tools.scoring import score
from mlp_vision.weights.loading import open_weights
from tests.configs.config_files import load
from tests.conftest import ROOT
from tests.mlp_core.train.test_step import image_task

RNG = jax.random.key(0)
EVERYTHING = {
    "augment.crop": "pad", "augment.flip": True, "augment.policy": "randaugment",
    "augment.mixup_alpha": 0.5, "augment.cutmix_alpha": 1.0, "augment.random_erasing": 0.5,
    "loss.name": "sigmoid", "loss.label_smoothing": 0.1, "loss.head_bias": -2.0,
    "model.dropout_rate": 0.1, "model.stochastic_depth": 0.1, "train.ema_decay": 0.9,
}  # fmt: skip


@pytest.fixture
def config(data_dir):
    config = load(ROOT / "configs" / "mixer_digits.py", "smoke")
    config.data.data_dir = data_dir
    config.train.duration = "3 steps"
    config.checkpoint.every = "1 step"
    config.checkpoint.keep_latest = 3
    config.evaluation.every = "0 steps"
    return config


def with_views(task, **changes):
    return dataclasses.replace(task, train_views=dataclasses.replace(task.train_views, **changes))


def a_batch(task, size=16):
    return task.train_source.gather(np.arange(size))


@pytest.mark.slow
def test_a_run_with_everything_on_goes_on_bit_for_bit(config, tmp_path):
    config.update_from_flattened_dict(EVERYTHING)
    results = experiment.train(config, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    for step in ("2", "3"):
        shutil.rmtree(tmp_path / "cut" / "checkpoints" / step)
    assert experiment.train(config, tmp_path / "cut") == results
    whole, cut = (
        ocp.load((tmp_path / run / "checkpoints" / "3").absolute()) for run in ("whole", "cut")
    )
    jax.tree.map(np.testing.assert_array_equal, whole, cut)
    assert np.abs(whole["params"]["head"]["kernel"]).max() > 0


@pytest.mark.slow
def test_mixing_and_erasing_come_on_top_of_the_views():
    task = image_task()
    batch = a_batch(task)
    views_rng, *_ = jax.random.split(RNG, 3)
    sizes = dict(min_area=0.05, padding=4, crop_from=None)
    views = augmentation.train_views(
        views_rng, batch["image"], 16, crop="inception", **sizes, flip=True
    )
    expected = augmentation.to_value_range(views, (-1.0, 1.0))
    augmented = task.augment(batch, RNG)
    np.testing.assert_array_equal(augmented["image"], expected)
    np.testing.assert_array_equal(augmented["label"], batch["label"])
    mixed = with_views(task, mixup_alpha=0.5).augment(batch, RNG)
    own = mixed["label"][np.arange(16), batch["label"]].min()
    blend = own * expected + (1 - own) * np.roll(expected, 1, axis=0)
    np.testing.assert_allclose(mixed["image"], blend, atol=1e-5)
    erased = with_views(task, random_erasing=0.5).augment(batch, RNG)["image"]
    assert 0.5 < (np.asarray(erased) == expected).mean() < 1


def test_mixed_labels_are_shares_of_the_classes():
    task = with_views(image_task(), cutmix_alpha=1.0)
    labels = np.asarray(task.augment(a_batch(task), RNG)["label"])
    assert labels.shape == (16, 10) and labels.dtype == np.float32
    np.testing.assert_allclose(labels.sum(-1), 1, atol=1e-6)


def test_views_made_on_the_host_are_only_flipped_and_mixed():
    task = dataclasses.replace(image_task(), train_views_on_host=True)
    batch = {"image": np.zeros((4, 16, 16, 3), np.uint8), "label": np.zeros(4, np.int32)}
    batch["image"][:, 0, 0] = 255  # A corner that a crop would lose or move.
    images = np.asarray(task.augment(batch, RNG)["image"])
    assert set(np.unique(images)) == {-1, 1}
    assert ((images[:, 0, 0] == 1) ^ (images[:, 0, -1] == 1)).all()


def test_a_new_head_starts_at_its_bias():
    task = dataclasses.replace(image_task(), head_bias=-6.9)
    head = task.init_params(RNG)["head"]
    np.testing.assert_allclose(head["bias"], -6.9)
    assert not np.any(head["kernel"])


@pytest.mark.parametrize("head, bias", [("keep", None), ("reset", -6.9)])
def test_a_head_that_weights_bring_keeps_its_own_bias(trained_run, head, bias):
    weights = open_weights(trained_run)
    task = dataclasses.replace(
        image_task(), spec=weights.spec, weights=weights, head=head, head_bias=-6.9
    )
    theirs = weights.read()["head/bias"]
    expected = theirs if bias is None else np.full_like(theirs, bias)
    np.testing.assert_allclose(task.published_params()["head"]["bias"], expected)


def test_training_loss_is_that_of_smoothed_shares():
    task = dataclasses.replace(image_task(), label_smoothing=0.2)
    batch = task.augment(a_batch(task), RNG)
    params = task.init_params(RNG)
    params = params | {"head": jax.tree.map(lambda leaf: leaf + 0.1, params["head"])}
    loss, scalars = task.loss(params, batch, RNG)
    logits = task.model.apply({"params": params}, batch["image"])
    shares = 0.8 * np.eye(10)[batch["label"]] + 0.02
    expected = optax.softmax_cross_entropy(logits, shares).mean()
    assert loss == pytest.approx(float(expected), rel=1e-5)
    assert scalars["top1"] == (logits.argmax(-1) == batch["label"]).mean()


@pytest.mark.slow
def test_a_sigmoid_run_is_evaluated_and_used_as_one(config, tmp_path):
    config.loss.name = "sigmoid"
    results = experiment.train(config, tmp_path)
    weights = open_weights(tmp_path)
    assert weights.spec.output == "sigmoid"
    # A zero head says one half of every class.
    at_start = read_metrics(tmp_path / "metrics.jsonl")[0]
    assert at_start["step"] == 0
    assert at_start["test/loss"] == pytest.approx(10 * np.log(2), rel=1e-4)
    scores = score(config, str(tmp_path), {}, {"test": "test"})
    assert scores["test/loss"] == pytest.approx(results["test/loss"], rel=1e-5)


@pytest.mark.parametrize(
    "field, value, message",
    [
        ("augment.crop", "padded", "config.augment.crop: "),
        ("augment.crop_padding", 0, "config.augment.crop_padding: "),
        ("augment.policy", "trivial", "config.augment.policy: "),
        ("augment.randaugment_layers", 0, "config.augment.randaugment_layers: "),
        ("augment.randaugment_magnitude", 31.0, "config.augment.randaugment_magnitude: "),
        ("augment.mixup_alpha", -0.1, "config.augment.mixup_alpha: "),
        ("augment.cutmix_alpha", -0.1, "config.augment.cutmix_alpha: "),
        ("augment.cutmix_probability", 1.5, "config.augment.cutmix_probability: "),
        ("augment.random_erasing", 1.5, "config.augment.random_erasing: "),
        ("loss.name", "hinge", "config.loss.name: "),
        ("loss.label_smoothing", 1.0, "config.loss.label_smoothing: "),
        ("loss.head_bias", float("nan"), "config.loss.head_bias: "),
    ],
)
def test_values_out_of_range_are_refused(config, field, value, message):
    config.update_from_flattened_dict({field: value})
    with pytest.raises(UserError, match=message):
        parse_config(ImageClassificationConfig, config)


def test_a_padding_as_large_as_the_picture_is_refused_before_fetching(config, tmp_path):
    config.augment.crop, config.augment.crop_padding = "pad", config.data.image_size
    config.data.name = "not_there"
    with pytest.raises(UserError, match="config.augment.crop_padding: .* 7 at most"):
        experiment.train(config, tmp_path)


@pytest.mark.parametrize("crop_from", [None, 7])
def test_a_crop_larger_than_what_it_is_cut_from_is_refused(config, tmp_path, crop_from):
    config.augment.crop, config.augment.crop_from = "squash", crop_from
    config.data.name = "not_there"
    with pytest.raises(UserError, match=f"crop_from: {crop_from} pixels .* set it to 8 or more"):
        experiment.train(config, tmp_path)


def test_mixing_is_known_from_its_alphas():
    def mixes(**changes):
        views = dataclasses.asdict(image_task().train_views) | changes
        return parse_config(AugmentConfig, views).mixes

    assert not mixes() and mixes(mixup_alpha=0.1) and mixes(cutmix_alpha=0.1)
