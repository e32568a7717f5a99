"""Compute precision, and checks for overflow."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mlp_core.errors import UserError


def compute_dtype(name: str):
    """Returns a dtype by name; "auto" is float32 on CPU and bfloat16 elsewhere.

    Parameters, losses and normalisation statistics are always float32.
    """
    if name == "auto":
        name = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    return jnp.dtype(name)


def check_finite_outputs(outputs: Any) -> None:
    """Raises `UserError` if a tree of model outputs contains NaN or infinity."""
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(outputs)):
        raise UserError(
            "the model computes NaN or infinity with these weights: they are damaged, or too large "
            "for its arithmetic; use other weights."
        )
