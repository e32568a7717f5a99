"""The blocks of a model, one after the other: as one program each or as one for all of them.

Shapes: B batch, S tokens, C channels.
"""

from collections.abc import Mapping
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from mlp_core.nn.mlp import depth_rate
from mlp_core.nn.platform_forms import materialized
from mlp_core.nn.stacked_blocks import stack_name

Remat = Literal["none", "blocks", "dots"]

# What is kept for the backward pass: nothing, or the products with weights. Those without weights,
# attention's scores [B, S, S], are the largest arrays of a block and soon made again.
_KEPT = {"blocks": None, "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable}


def block_stack(
    block: type[nn.Module],
    fields: Mapping[str, Any],
    x: jax.Array,
    *inputs: jax.Array | None,
    num_blocks: int,
    train: bool,
    stochastic_depth: float = 0.0,
    scan_layers: bool = False,
    remat: Remat = "none",
    all_states: bool = False,
) -> jax.Array | list[jax.Array]:
    """Maps [B, S, C] to [B, S, C] by blocks of the calling module, which must be compact.

    Args:
      block: its instances map (x, *inputs, train=...) to what is like x, and with stochastic depth
        take `drop_path_rate`, a scalar.
      fields: those of every block.
      x: what the first block sees.
      *inputs: what every block sees besides, such as a mask of pads.
      num_blocks: how many.
      train: whether dropout and stochastic depth act.
      stochastic_depth: drop probability of the last block; grows linearly from 0 in the first.
      scan_layers: False names blocks `MixerBlock_0`, `MixerBlock_1` ...; True compiles one block
        and loops over its parameters, which lie under `MixerBlocks` with a leading axis of
        `num_blocks`. Initial values and what dropout draws differ between the two.
      remat: what the backward pass computes anew: "none"; "blocks", all but the blocks' inputs;
        "dots", all but these and the products with weights.
      all_states: whether to give a list of [B, S, C] instead, of x and each block's result.
    """

    def apply(module: nn.Module, x, drop_path_rate, *inputs):
        rate = {} if drop_path_rate is None else {"drop_path_rate": drop_path_rate}
        return module(materialized(x), *inputs, train=train, **rate)

    if remat != "none":  # A loop's body is not merged with its backward pass anyway.
        apply = nn.remat(apply, policy=_KEPT[remat], prevent_cse=not scan_layers)
    rates = [depth_rate(stochastic_depth, i, num_blocks) for i in range(num_blocks)]
    if scan_layers:

        def step(module: nn.Module, x, rate, *inputs):
            x = apply(module, x, rate, *inputs)
            return x, x if all_states else None

        scan = nn.scan(
            step,
            variable_axes={"params": 0},
            split_rngs={"params": True, "dropout": True},
            in_axes=(0, *[nn.broadcast] * len(inputs)),
            length=num_blocks,
        )
        module = block(**fields, name=stack_name(block.__name__))
        last, states = scan(module, x, jnp.array(rates) if stochastic_depth else None, *inputs)
        return [x, *states] if all_states else last
    states = [x]
    for i, rate in enumerate(rates):
        module = block(**fields, name=f"{block.__name__}_{i}")
        states.append(apply(module, states[-1], rate if stochastic_depth else None, *inputs))
    return states if all_states else states[-1]
