"""gMLP's spatial projections follow a change of image size."""

import dataclasses

import numpy as np
import pytest

import mlp_vision
from mlp_core.errors import UserError
from mlp_core.nn.parameters import flatten
from mlp_core.nn.spatial_gating import toeplitz_matrix
from mlp_core.weights.files import write_weight_file
from mlp_vision.models.gmlp import GmlpSpec, resample_spatial_matrix, resample_toeplitz_vector
from mlp_vision.models.patch_model_spec import GOOGLE_NUMERICS
from mlp_vision.weights.loading import metadata_of, open_weights
from mlp_vision.weights.pretrained import check_sizes
from tests.mlp_vision.weights.made_weights import TINY_GMLP, made_arrays

FORMS = [
    dict(spatial_matrix="full"),
    dict(spatial_matrix="toeplitz"),
    dict(spatial_matrix="full", pooling="class_token"),
]


def smooth(rows, columns):
    """A weight for each displacement of one token from another, in pictures' widths."""
    return np.exp(-8 * (rows**2 + columns**2)) + 0.3 * rows + 0.2 * columns


def displacements(grid):
    """Rows and columns [S, S] from token i to token j, in pictures' widths."""
    row, column = np.divmod(np.arange(grid**2), grid)
    return (row - row[:, None]) / grid, (column - column[:, None]) / grid


@pytest.mark.parametrize("old, new", [(8, 12), (8, 16), (8, 11)])
def test_a_smooth_spatial_matrix_stays_the_same_function_of_places(old, new):
    kernel = smooth(*displacements(old)) / old**2
    ours, _ = resample_spatial_matrix(kernel, np.ones(old**2), old, new)
    expected = smooth(*displacements(new)) / new**2
    middle = [r * new + c for r in range(2, new - 2) for c in range(2, new - 2)]  # No border.
    error = np.abs(ours - expected)[np.ix_(middle, middle)] * new**2
    assert error.max() < 0.12  # Of weights up to 1.


@pytest.mark.parametrize("old, new", [(8, 12), (8, 16), (8, 11)])
def test_a_smooth_toeplitz_vector_stays_the_same_function_of_distances(old, new):
    def vector(grid):
        distances = np.arange(1 - grid**2, grid**2)
        rows = np.rint(distances / grid)
        return smooth(rows / grid, (distances - rows * grid) / grid) / grid**2

    ours, bias = resample_toeplitz_vector(vector(old), np.ones(old**2), old, new)
    np.testing.assert_allclose(bias, 1)
    near = np.abs(np.arange(1 - new**2, new**2)) < new**2 / 2
    columns = np.arange(1 - new**2, new**2)
    columns = np.abs(columns - np.rint(columns / new) * new)
    inner = near & (columns < new / 4)  # Further to the side, old distances have two readings.
    error = np.abs(ours - vector(new))[inner] * new**2
    assert error.max() < 0.12


@pytest.mark.parametrize("new", [8, 6, 5])
def test_a_constant_input_gives_what_it_gave(new):
    rng = np.random.default_rng(0)
    level = rng.standard_normal()
    bias = rng.standard_normal(16)
    matrix, new_bias = resample_spatial_matrix(np.full((16, 16), level), bias, 4, new)
    np.testing.assert_allclose(matrix.sum(1), 16 * level)
    assert bias.min() <= new_bias.min() and new_bias.max() <= bias.max()
    vector, _ = resample_toeplitz_vector(np.full(31, level), bias, 4, new)
    np.testing.assert_allclose(np.asarray(toeplitz_matrix(vector)).sum(1), 16 * level, rtol=1e-5)


@pytest.mark.parametrize("change", [resample_spatial_matrix, resample_toeplitz_vector])
def test_resampling_to_the_same_grid_changes_nothing(change):
    rng = np.random.default_rng(0)
    shape = (16, 16) if change is resample_spatial_matrix else (31,)
    kernel, bias = rng.standard_normal(shape), rng.standard_normal(16)
    for old, new in zip((kernel, bias), change(kernel, bias, 4, 4), strict=True):
        np.testing.assert_allclose(new, old, atol=1e-12)


def test_a_class_token_keeps_its_weights():
    rng = np.random.default_rng(0)
    kernel, bias = rng.standard_normal((17, 17)), rng.standard_normal(17)
    new_kernel, new_bias = resample_spatial_matrix(kernel, bias, 4, 8)
    assert new_kernel.shape == (65, 65)
    assert new_kernel[0, 0] == pytest.approx(kernel[0, 0])
    assert new_bias[0] == pytest.approx(bias[0])
    assert new_kernel[0, 1:].sum() == pytest.approx(kernel[0, 1:].sum())
    patches, _ = resample_spatial_matrix(kernel[1:, 1:], bias[1:], 4, 8)
    np.testing.assert_allclose(new_kernel[1:, 1:], patches)


def write(path, **form):
    spec = GmlpSpec(
        **TINY_GMLP, **form, **GOOGLE_NUMERICS, num_classes=10, image_size=32, output="softmax"
    )
    write_weight_file(path, made_arrays("gmlp", 10, 32, **TINY_GMLP, **form), metadata_of(spec))
    return path


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_weights_load_at_another_image_size_and_say_so(tmp_path, capsys, form):
    path = write(tmp_path / "gmlp.npz", **form)
    model, params = mlp_vision.load_pretrained(path, image_size=48)
    assert "resampled from 4 x 4 tokens to 6 x 6" in capsys.readouterr().out
    images = np.random.default_rng(0).uniform(-1, 1, (2, 48, 48, 3)).astype(np.float32)
    assert np.isfinite(model.apply({"params": params}, images)).all()
    before, after = open_weights(path).read(), flatten(params)
    resample = {"full": resample_spatial_matrix, "toeplitz": resample_toeplitz_vector}
    for block in range(TINY_GMLP["num_blocks"]):
        names = [f"GmlpBlock_{block}/gating/spatial/{leaf}" for leaf in ("kernel", "bias")]
        old = (before.pop(name) for name in names)
        for name, expected in zip(names, resample[form["spatial_matrix"]](*old, 4, 6), strict=True):
            np.testing.assert_array_equal(after.pop(name), expected)
    assert before.keys() == after.keys()
    for name, array in before.items():  # Nothing else knows the number of tokens.
        np.testing.assert_array_equal(after[name], array)


def test_a_toeplitz_matrix_with_a_class_token_cannot_and_is_refused_unread(tmp_path):
    path = write(tmp_path / "gmlp.npz", spatial_matrix="toeplitz", pooling="class_token")
    mlp_vision.load_pretrained(path, image_size=32)
    with pytest.raises(UserError, match="cannot change its resolution"):
        mlp_vision.load_pretrained(path, image_size=64)
    spec = open_weights(path).spec
    with pytest.raises(UserError, match="cannot change its resolution"):
        check_sizes("weights", spec, dataclasses.replace(spec, image_size=64))
