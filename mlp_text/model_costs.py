"""Parameters and arithmetic of an encoder, from its shapes alone."""

import jax
import jax.numpy as jnp

from mlp_core.parameters import count
from mlp_core.planning.matmul_flops import matmul_flops
from mlp_text.models import create_encoder

VOCABULARY = 32_000  # Tokens, as in Pay Attention to MLPs.


def model_costs(name: str) -> dict[str, float]:
    """Of an encoder by name: {"parameters": in millions, "gflops": of one sequence, forward}.

    The sequence is as long as the model takes.
    """
    # Scanned, it is traced in a fraction of the time.
    encoder = create_encoder(name, VOCABULARY, scan_layers=True)
    ids = jax.ShapeDtypeStruct((1, encoder.max_length), jnp.int32)
    # The initial values are no products.
    trace = jax.make_jaxpr(encoder.init_with_output, return_shape=True)
    traced, (_, variables) = trace(jax.random.key(0), ids)
    return {"parameters": count(variables) / 1e6, "gflops": matmul_flops(traced) / 1e9}
