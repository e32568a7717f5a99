"""Permuted pixels: a Mixer cannot tell, and weights keep what they were trained on."""

import dataclasses

import jax
import numpy as np
import pytest

from mlp_core.errors import UserError
from mlp_core.nn.parameters import unflatten
from mlp_vision.models.permutations import permute, permuted_patches, source_pixels
from mlp_vision.models.registry import create_model
from mlp_vision.tasks import experiment
from mlp_vision.tasks.classification import model_input
from mlp_vision.tools.scoring import score
from mlp_vision.weights.loading import open_weights
from tests.configs.config_files import load
from tests.conftest import ROOT
from tests.mlp_vision.weights.made_weights import TINY, TINY_GMLP, made_arrays

SIZE, PATCH = 32, 8


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).standard_normal((3, SIZE, SIZE, 3)).astype(np.float32)


@pytest.mark.parametrize("permutation", ["patches", "pixels"])
def test_every_pixel_has_one_new_place_the_same_in_every_picture(images, permutation):
    sources = source_pixels(permutation, SIZE, PATCH)
    assert sorted(sources) == list(range(SIZE**2))
    permuted = np.asarray(permute(images, permutation, PATCH))
    for image, moved in zip(images, permuted, strict=True):
        assert np.array_equal(moved.reshape(-1, 3), image.reshape(-1, 3)[sources])
    assert np.array_equal(permuted, permute(images, permutation, PATCH))
    assert permute(images, "none", PATCH) is images


def test_pixels_of_a_patch_stay_together_under_patches_only():
    number = np.arange(SIZE**2).reshape(SIZE, SIZE)
    patch_of = number // SIZE // PATCH * (SIZE // PATCH) + number % SIZE // PATCH

    def patches_within(permutation):
        moved = patch_of.reshape(-1)[source_pixels(permutation, SIZE, PATCH)].reshape(SIZE, SIZE)
        return {len(set(moved[i : i + 8, j : j + 8].flat)) for i in (0, 8, 16, 24) for j in (0, 24)}

    assert patches_within("patches") == {1} and min(patches_within("pixels")) > 5


def logits_of(name, fields, arrays, images):
    model = create_model(name, 10, **fields)
    return np.asarray(model.apply({"params": unflatten(arrays)}, images))


def permuted_stem(arrays):
    patches, pixels = permuted_patches(SIZE, PATCH)
    kernel = arrays["stem/kernel"]
    flat = kernel.reshape(PATCH**2, *kernel.shape[2:])[pixels]
    return patches, arrays | {"stem/kernel": flat.reshape(kernel.shape)}


def test_a_mixer_with_stem_and_token_mixing_permuted_alike_sees_no_difference(images):
    arrays = made_arrays("mixer", 10, SIZE, **TINY)
    patches, permuted = permuted_stem(arrays)
    for name, array in arrays.items():
        if name.endswith("token_mixing/Dense_0/kernel"):
            permuted[name] = array[patches]
        elif name.endswith(("token_mixing/Dense_1/kernel", "token_mixing/Dense_1/bias")):
            permuted[name] = array[..., patches]
    before = logits_of("mixer", TINY, arrays, images)
    moved = permute(images, "patches", PATCH)
    after = logits_of("mixer", TINY, permuted, moved)
    assert np.abs(before).max() > 0.1 and np.allclose(before, after, atol=1e-5)
    assert np.abs(before - logits_of("mixer", TINY, arrays, moved)).max() > 0.01


def test_so_does_a_gmlp(images):
    arrays = made_arrays("gmlp", 10, SIZE, **TINY_GMLP)
    patches, permuted = permuted_stem(arrays)
    for name, array in arrays.items():
        if name.endswith("spatial/kernel"):
            permuted[name] = array[patches][:, patches]
        elif name.endswith("spatial/bias"):
            permuted[name] = array[patches]
    before = logits_of("gmlp", TINY_GMLP, arrays, images)
    after = logits_of("gmlp", TINY_GMLP, permuted, permute(images, "patches", PATCH))
    assert np.allclose(before, after, atol=1e-5)


@pytest.mark.slow
def test_a_run_keeps_its_permutation_for_whoever_uses_its_weights(tmp_path, data_dir, capsys):
    config = load(ROOT / "configs" / "mixer_digits.py", "smoke")
    config.data.data_dir, config.data.permutation = data_dir, "pixels"
    results = experiment.train(config, tmp_path)
    weights = open_weights(tmp_path)
    assert weights.spec.permutation == "pixels"
    plain = load(ROOT / "configs" / "mixer_digits.py", "smoke")
    plain.data.data_dir = data_dir
    scores = score(plain, str(tmp_path), {}, {"test": "test"})
    assert scores["test/loss"] == pytest.approx(results["test/loss"], rel=1e-5)
    assert ", pixels permuted" in capsys.readouterr().out
    other = score(plain, str(tmp_path), {"data.permutation": "none"}, {"test": "test"})
    assert other["test/loss"] != pytest.approx(results["test/loss"], rel=1e-3)
    with pytest.raises(UserError, match="timm has no model that sees its pixels permuted"):
        weights.spec.in_timm()


def test_training_and_evaluation_see_the_same_permutation(images, trained_run):
    spec = dataclasses.replace(open_weights(trained_run).spec, permutation="patches")
    views = jax.numpy.abs(images) * 50
    seen = model_input(spec, spec.create_model(), views)
    low, high = spec.value_range
    wanted = low + permute(views, "patches", spec.patch_size) / 255 * (high - low)
    assert np.allclose(seen, wanted, atol=1e-6)
