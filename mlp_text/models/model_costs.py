"""Parameters and arithmetic of an encoder, from its shapes alone."""

import jax
import jax.numpy as jnp

from mlp_core.planning.matmul_flops import costs_of
from mlp_text.models.registry import create_encoder

VOCABULARY = 32_000  # Tokens, as in Pay Attention to MLPs.


def model_costs(name: str) -> dict[str, float]:
    """Of an encoder by name: {"parameters": in millions, "gflops": of one sequence, forward}.

    The sequence is as long as the model takes.
    """
    # Scanned, it is traced in a fraction of the time.
    encoder = create_encoder(name, VOCABULARY, scan_layers=True)
    ids = jax.ShapeDtypeStruct((1, encoder.max_length), jnp.int32)
    return costs_of(encoder, ids)
