import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlp_core.nn.spatial_gating import resize_vector, toeplitz_matrix


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


@pytest.mark.parametrize("n, m", [(5, 3), (3, 5), (4, 4), (5, 1), (1, 3)])
def test_a_vector_for_another_length_keeps_the_weight_of_every_distance(n, m):
    vector = np.random.default_rng(0).standard_normal(2 * n - 1).astype(np.float32)
    before, after = toeplitz_matrix(vector), toeplitz_matrix(resize_vector(vector, m))
    assert after.shape == (m, m)
    both = min(n, m)
    np.testing.assert_array_equal(after[:both, :both], before[:both, :both])
    far = np.abs(np.subtract.outer(np.arange(m), np.arange(m))) >= n
    assert not np.asarray(after)[far].any()


def test_the_matrix_is_that_of_the_papers_construction():
    """Appendix C: pad, tile, drop, reshape, and cut r columns off at either end."""
    n = 6
    vector = np.random.default_rng(0).standard_normal(2 * n - 1).astype(np.float32)
    r = (2 * n - 1) // 2
    padded = np.pad(vector, (0, n))
    paper = np.tile(padded, n)[:-n].reshape(n, n + 2 * r)[:, r:-r]
    np.testing.assert_array_equal(toeplitz_matrix(vector), paper)


def test_gradients_through_it_equal_those_of_the_full_matrix():
    n = 5
    rng = np.random.default_rng(0)
    vector, x, y = (rng.standard_normal(s).astype(np.float32) for s in (2 * n - 1, n, n))

    def loss(matrix):
        return jnp.sum(jnp.sin(matrix @ x) * y)

    of_matrix = jax.grad(loss)(toeplitz_matrix(vector))
    of_vector = jax.grad(lambda v: loss(toeplitz_matrix(v)))(vector)
    expected = [np.trace(of_matrix, offset) for offset in range(1 - n, n)]
    np.testing.assert_allclose(of_vector, expected, rtol=1e-5, atol=1e-6)
