"""In which precision the arithmetic is done."""

import jax
import jax.numpy as jnp


def compute_dtype(name: str):
    """The type of "float32" or "bfloat16"; "auto" is float32 on CPU and bfloat16 elsewhere.

    Parameters, losses and statistics of normalisation are float32 in any case.
    """
    if name == "auto":
        name = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    return jnp.dtype(name)
