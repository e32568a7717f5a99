"""In which precision the arithmetic is done, and what has overflowed in it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mlp_core.errors import UserError


def compute_dtype(name: str):
    """The type of "float32" or "bfloat16"; "auto" is float32 on CPU and bfloat16 elsewhere.

    Parameters, losses and statistics of normalisation are float32 in any case.
    """
    if name == "auto":
        name = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    return jnp.dtype(name)


def check_finite_outputs(outputs: Any) -> None:
    """Refuses NaN and infinity in what a model has computed: a tree of arrays or numbers.

    Raises:
        UserError: there are some.
    """
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(outputs)):
        raise UserError(
            "the model computes NaN or infinity with these weights: they are damaged, or too large "
            "for its arithmetic; use other weights."
        )
