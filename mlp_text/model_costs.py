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
    encoder = create_encoder(
        name, VOCABULARY, scan_layers=True
    )  # Traced in a fraction of the time.
    ids = jax.ShapeDtypeStruct((1, encoder.max_length), jnp.int32)
    variables = jax.eval_shape(encoder.init, jax.random.key(0), ids)
    flops = matmul_flops(jax.make_jaxpr(encoder.apply)(variables, ids))
    return {"parameters": count(variables) / 1e6, "gflops": flops / 1e9}
