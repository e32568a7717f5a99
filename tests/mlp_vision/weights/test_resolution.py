"""Parameters follow a change of image size; the paper's construction is exact."""

import numpy as np
import pytest

import mlp_vision
from mlp_core.errors import UserError
from mlp_core.nn.parameters import unflatten
from mlp_core.weights.files import write_weight_file
from mlp_vision.models import mixer
from mlp_vision.weights import pretrained
from mlp_vision.weights.loading import open_weights
from tests.mlp_vision.weights.made_weights import made_arrays, tiny_arrays, write_tiny


@pytest.fixture
def weights(tmp_path):
    return open_weights(write_tiny(tmp_path / "tiny.npz"))


def logits(spec, arrays, images):
    return spec.create_model().apply({"params": unflatten(arrays)}, images)


def pictures(size, batch=2):
    rng = np.random.default_rng(1)
    return rng.uniform(-1, 1, (batch, size, size, 3)).astype(np.float32)


def mean_over_tiles(spec, arrays, images):
    size = spec.image_size
    tiles = [
        images[:, top : top + size, left : left + size]
        for top in range(0, images.shape[1], size)
        for left in range(0, images.shape[2], size)
    ]
    return np.mean([logits(spec, arrays, tile) for tile in tiles], axis=0)


@pytest.mark.parametrize("factor", [2, 3])
def test_logits_at_a_whole_factor_are_the_mean_over_the_tiles(weights, factor):
    spec = weights.spec.at_image_size(factor * 32)
    arrays = pretrained.change_resolution(weights.read(), weights.spec, spec)
    images = pictures(factor * 32)
    expected = mean_over_tiles(weights.spec, weights.read(), images)
    np.testing.assert_allclose(logits(spec, arrays, images), expected, atol=1e-5)


def test_without_the_tile_permutation_they_are_not(weights, monkeypatch):
    spec = weights.spec.at_image_size(64)
    monkeypatch.setattr(
        mixer,
        "token_places",
        lambda grid, factor: np.arange((grid * factor) ** 2).reshape(factor**2, grid**2),
    )
    arrays = pretrained.change_resolution(weights.read(), weights.spec, spec)
    images = pictures(64)
    expected = mean_over_tiles(weights.spec, weights.read(), images)
    assert np.abs(logits(spec, arrays, images) - expected).max() > 1e-4


@pytest.mark.slow
def test_224_to_448_pixels_is_exact_at_the_size_of_s32(tmp_path):
    write_weight_file(tmp_path / "s32.npz", made_arrays("mixer_s32", 5, 224))
    start = open_weights(tmp_path / "s32.npz")
    spec = start.spec.at_image_size(448)
    assert spec.tokens_mlp_dim == 4 * 256
    arrays = pretrained.change_resolution(start.read(), start.spec, spec)
    images = pictures(448, batch=1)
    expected = mean_over_tiles(start.spec, start.read(), images)
    np.testing.assert_allclose(logits(spec, arrays, images), expected, atol=1e-5)


@pytest.mark.parametrize("size", [40, 24, 16])
def test_any_other_size_keeps_the_width_and_what_the_token_mlps_say_of_a_flat_picture(
    weights, size
):
    spec = weights.spec.at_image_size(size)
    assert spec.sizes == weights.spec.sizes
    start = weights.read()
    for name, array in start.items():  # Hidden units that look at, and write to, all tokens alike.
        if "token_mixing/Dense_0/kernel" in name:
            start[name] = array[:1].repeat(len(array), axis=0)
        elif "token_mixing/Dense_1" in name:
            start[name] = array[..., :1].repeat(array.shape[-1], axis=-1)
    arrays = pretrained.change_resolution(start, weights.spec, spec)
    flat = np.full((1, 1, 1, 3), 0.3, np.float32)
    here = logits(spec, arrays, flat.repeat(size, 1).repeat(size, 2))
    there = logits(weights.spec, start, flat.repeat(32, 1).repeat(32, 2))
    np.testing.assert_allclose(here, there, atol=1e-5)


def test_resampling_to_the_same_grid_changes_nothing():
    block = "MixerBlock_0/token_mixing"
    arrays = tiny_arrays()
    mlp = [arrays[f"{block}/Dense_{i}/{leaf}"] for i in (0, 1) for leaf in ("kernel", "bias")]
    for old, new in zip(mlp, mixer.resample_token_mlp(*mlp, 4, 4), strict=True):
        np.testing.assert_allclose(new, old, rtol=1e-6)


def test_resampled_weights_are_those_of_a_resized_picture():
    from PIL import Image

    rng = np.random.default_rng(0)
    kernel = rng.standard_normal((16, 5)).astype(np.float32)
    new, *_ = mixer.resample_token_mlp(kernel, np.zeros(5), np.zeros((5, 16)), np.zeros(16), 4, 6)
    for unit in range(5):
        picture = Image.fromarray(kernel[:, unit].reshape(4, 4), "F")
        resized = np.asarray(picture.resize((6, 6), Image.Resampling.BILINEAR))
        np.testing.assert_allclose(new[:, unit] * 36 / 16, resized.ravel(), atol=1e-5)


def test_the_change_is_announced_with_its_kind(weights, capsys):
    path = str(weights.path)
    model, params = mlp_vision.load_pretrained(path, image_size=64)
    assert "32 to 64 pixels by the paper's construction" in capsys.readouterr().out
    assert model.tokens_mlp_dim == 96
    assert model.apply({"params": params}, pictures(64)).shape == (2, 10)
    model, _ = mlp_vision.load_pretrained(path, image_size=40)
    assert "32 to 40 pixels: token-mixing weights resampled" in capsys.readouterr().out
    assert model.tokens_mlp_dim == 24
    mlp_vision.load_pretrained(path, image_size=32)
    assert "Resolution" not in capsys.readouterr().out


def test_a_size_that_patches_do_not_divide_is_refused(weights):
    with pytest.raises(UserError, match="patches of 8 pixels do not divide images of 33 x 33"):
        mlp_vision.load_pretrained(str(weights.path), image_size=33)
