"""Toeplitz matrices: one weight for each distance between two tokens.

Source: Pay Attention to MLPs (arXiv:2105.08050), appendix C. Shapes: n tokens; a vector w of 2n - 1
weights makes the matrix W[i, j] = w[n - 1 + j - i].
"""

import jax
import jax.numpy as jnp


def toeplitz_matrix(vector: jax.Array) -> jax.Array:
    """The matrix [n, n] of a vector [2n - 1]; made by reshaping, so that its gradient is cheap."""
    n = (vector.shape[0] + 1) // 2
    period = jnp.pad(vector, (0, 1))  # [2n]; a row one shorter than it moves each row by one.
    return jnp.tile(period, n)[:-n].reshape(n, 2 * n - 1)[:, n - 1 :]


def resize_vector(vector: jax.Array, n: int) -> jax.Array:
    """A vector for n tokens: its middle, or with zeros for distances that it does not know."""
    longer = n - (vector.shape[0] + 1) // 2  # Tokens, and weights at either end.
    return jnp.pad(vector, longer) if longer > 0 else vector[-longer : vector.shape[0] + longer]
