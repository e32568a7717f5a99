"""Weight files: what is refused when the arrays are read."""

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from mlp_core.errors import UserError
from mlp_core.weights.arrays import check_finite
from mlp_core.weights.files import open_weight_file


@pytest.mark.parametrize("method", ["read", "check"])
@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused_with_the_name_of_the_array(
    tmp_path, method, suffix, dtype, value
):
    arrays = {"a": np.zeros((3, 4), dtype), "b/kernel": np.zeros((30, 40), dtype)}
    arrays["b/kernel"][29, 39] = value
    path = tmp_path / f"model{suffix}"
    save_file(arrays, path) if suffix == ".safetensors" else np.savez(path, **arrays)
    with pytest.raises(UserError) as error:
        getattr(open_weight_file(path), method)()
    expected = f"{path}: b/kernel holds NaN or infinity (1 of its 1,200 numbers)"
    assert str(error.value).startswith(expected)


def test_infinities_that_cancel_are_found():
    with pytest.raises(UserError, match="2 of its 3"):
        check_finite("x", "a", np.array([np.inf, -np.inf, 0], np.float32))


@pytest.mark.parametrize("scale", [1.0, -1.0])
def test_large_numbers_whose_sum_overflows_are_finite(scale):
    largest = scale * np.finfo(np.float32).max
    check_finite("x", "a", np.full(1000, largest, np.float32))
