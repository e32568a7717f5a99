"""The middle of every model of patches: its blocks, then LayerNorm.

Shapes: B batch, S tokens, C channels.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax

from mlp_core.nn.stack import block_stack


def through_blocks(
    model: nn.Module, block: type[nn.Module], fields: Mapping[str, Any], x: jax.Array, train: bool
) -> jax.Array:
    """Maps tokens [B, S, C] to [B, S, C] by blocks and a LayerNorm that are submodules of `model`.

    Args:
      model: the module that calls, which must be compact; how many blocks there are, their
        numerics and what training does with them are fields of it.
      block: see `block_stack`.
      fields: those of a block that only models of this architecture have.
      x: tokens.
      train: whether dropout and stochastic depth act.
    """
    x = block_stack(
        block,
        {
            **fields,
            "gelu": model.gelu,
            "layer_norm_epsilon": model.layer_norm_epsilon,
            "dropout_rate": model.dropout_rate,
            "drop_path_rescaled": model.stochastic_depth_rescaled,
            "dtype": model.dtype,
        },
        x,
        num_blocks=model.num_blocks,
        train=train,
        stochastic_depth=model.stochastic_depth,
        scan_layers=model.scan_layers,
        remat=model.remat,
    )
    norm = nn.LayerNorm(
        epsilon=model.layer_norm_epsilon, dtype=model.dtype, name="pre_head_layer_norm"
    )
    return norm(x)
