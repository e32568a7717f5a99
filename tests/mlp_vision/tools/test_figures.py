"""Figures show the numbers of the weights, whichever weights they are."""

import numpy as np
import pytest

from mlp_core.errors import UserError
from mlp_core.nn.spatial_gating import toeplitz_matrix
from mlp_core.weights.files import write_weight_file
from mlp_vision.tools import figures
from tests.conftest import ROOT
from tests.mlp_vision.models.published_baselines import bit_arrays
from tests.mlp_vision.weights.made_weights import TINY_GMLP, made_arrays, tiny_arrays, write_tiny

TIMM_MIXER = ROOT / "tests" / "data" / "mixer_timm.safetensors"


def sheets(figure):
    """The images drawn, one a set of axes."""
    return [np.ma.filled(axes.images[0].get_array(), np.nan) for axes in figure.axes]


def cell(sheet, row, column, size):
    top, left = row * (size + 1), column * (size + 1)
    return sheet[top : top + size, left : left + size]


def of_scale_one(array):
    return array / np.abs(array).max()


def test_token_units_are_the_columns_of_the_token_mixing_kernels_each_of_its_own_scale(tmp_path):
    source = write_tiny(tmp_path / "tiny.npz")
    first, second = sheets(figures.token_units(source, blocks=[0, 1]))
    kernel = tiny_arrays()["MixerBlock_1/token_mixing/Dense_0/kernel"]  # [16, 24]
    drawn = [cell(second, i // 16, i % 16, 4) for i in range(24)]
    wanted = [of_scale_one(unit.reshape(4, 4)) for unit in kernel.T]
    for unit in wanted:
        assert sum(np.allclose(unit, other) for other in drawn) == 1
    assert not np.allclose(cell(first, 0, 0, 4), cell(second, 0, 0, 4))
    assert np.isnan(second[4]).all()  # Between two rows.
    few = sheets(figures.token_units(source, blocks=[1], units=2))[0]
    assert np.array_equal(few[:, :9], second[:4, :9], equal_nan=True)


def test_inverse_units_stand_side_by_side(tmp_path):
    arrays = tiny_arrays()
    name = "MixerBlock_0/token_mixing/Dense_0/kernel"
    half = arrays[name][:, ::2]
    arrays[name] = np.concatenate([half, -3 * half], axis=1)
    write_weight_file(tmp_path / "pairs.npz", arrays)
    (sheet,) = sheets(figures.token_units(tmp_path / "pairs.npz", blocks=[0]))
    for i in range(0, 24, 2):
        one, other = (cell(sheet, j // 16, j % 16, 4) for j in (i, i + 1))
        assert np.allclose(one, -other, atol=1e-6)


def test_stem_filters_are_in_colour_with_grey_for_zero(tmp_path):
    (sheet,) = sheets(figures.stem_filters(write_tiny(tmp_path / "tiny.npz")))
    kernel = tiny_arrays()["stem/kernel"]  # [8, 8, 3, 32]
    drawn = [cell(sheet, i // 16, i % 16, 8) for i in range(32)]
    wanted = (1 + of_scale_one(kernel[..., 5])) / 2
    assert sum(np.allclose(wanted, other) for other in drawn) == 1
    assert sheet.min() >= 0 and sheet.max() <= 1


def test_a_run_and_timms_files_are_drawn_too(trained_run):
    assert len(figures.token_units(trained_run).axes) == 2  # All that there are, up to three.
    assert len(figures.token_units(TIMM_MIXER, blocks=[0]).axes) == 1


@pytest.mark.parametrize("matrix", ["full", "toeplitz"])
def test_rows_of_spatial_matrices_are_what_a_token_takes_from_each_place(tmp_path, matrix):
    arrays = made_arrays("gmlp", 10, 32, spatial_matrix=matrix, **TINY_GMLP)
    write_weight_file(tmp_path / "gmlp.npz", arrays)
    first, second = sheets(figures.spatial_rows(tmp_path / "gmlp.npz", rows=4))
    kernel = arrays["GmlpBlock_1/gating/spatial/kernel"]
    whole = kernel if matrix == "full" else np.asarray(toeplitz_matrix(kernel))
    assert np.allclose(cell(second, 0, 1, 4), of_scale_one(whole[5].reshape(4, 4)))
    assert np.allclose(cell(second, 0, 3, 4), of_scale_one(whole[15].reshape(4, 4)))
    assert first.shape == (4, 19)


MISTAKES = {
    "a gMLP has no token MLPs": ("gmlp.npz", figures.token_units, {}, "has no token-mixing MLPs"),
    "of any block": ("gmlp.npz", figures.token_units, {"blocks": [0]}, "has no token-mixing MLPs"),
    "a Mixer no matrices": ("mixer.npz", figures.spatial_rows, {}, "has no spatial gating units"),
    "nor more blocks": ("mixer.npz", figures.token_units, {"blocks": [5]}, "no block 5; .* 0 to 1"),
    "nor none": ("mixer.npz", figures.token_units, {"blocks": []}, "no block is named"),
    "a ResNet neither": ("resnet.npz", figures.token_units, {}, "has no token-mixing MLPs"),
    "of any of its blocks": (
        "resnet.npz",
        figures.spatial_rows,
        {"blocks": [0]},
        "has no spatial gating units",
    ),
    "no units": ("mixer.npz", figures.token_units, {"units": 0}, "units=0: name a number from 1"),
    "no filters": ("mixer.npz", figures.stem_filters, {"units": -1}, "units=-1: name a number"),
    "no rows": ("gmlp.npz", figures.spatial_rows, {"rows": 0}, "rows=0: name a number from 1 on"),
}


@pytest.mark.parametrize("file, draw, arguments, message", MISTAKES.values(), ids=MISTAKES.keys())
def test_what_is_not_there_is_told(tmp_path, file, draw, arguments, message):
    write_tiny(tmp_path / "mixer.npz")
    write_weight_file(tmp_path / "gmlp.npz", made_arrays("gmlp", 10, 32, **TINY_GMLP))
    write_weight_file(tmp_path / "resnet.npz", bit_arrays())
    with pytest.raises(UserError, match=message):
        draw(tmp_path / file, **arguments)


def test_a_class_token_leaves_no_square_to_draw(tmp_path):
    arrays = made_arrays("gmlp", 10, 32, pooling="class_token", **TINY_GMLP)
    write_weight_file(tmp_path / "token.npz", arrays)
    with pytest.raises(UserError, match="17 tokens are no square"):
        figures.spatial_rows(tmp_path / "token.npz")
