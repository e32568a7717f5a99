import jax
import numpy as np
import pytest

from mlp_core.toeplitz import toeplitz_matrix


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_an_entry_depends_on_the_distance_alone(n):
    vector = np.random.default_rng(0).standard_normal(2 * n - 1).astype(np.float32)
    expected = [[vector[n - 1 + j - i] for j in range(n)] for i in range(n)]
    np.testing.assert_array_equal(toeplitz_matrix(vector), expected)


def test_the_gradient_of_a_weight_is_the_sum_over_its_diagonal():
    n = 4
    cotangent = np.random.default_rng(0).standard_normal((n, n)).astype(np.float32)
    _, backward = jax.vjp(toeplitz_matrix, np.zeros(2 * n - 1, np.float32))
    sums = [np.trace(cotangent, offset) for offset in range(1 - n, n)]
    np.testing.assert_allclose(backward(cotangent)[0], sums, rtol=1e-6)
