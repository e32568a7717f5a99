"""Stacks of a model's blocks: unrolled, or scanned with their parameters stacked.

Shapes: B batch, S tokens, C channels.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from mlp_core.nn.dense import materialized
from mlp_core.nn.mlp import depth_rate
from mlp_core.nn.parameters import flatten

Remat = Literal["none", "blocks", "dots"]

# What is saved for the backward pass: nothing, or products with weights. Those without weights,
# attention scores [B, S, S], are the largest arrays of a block and cheap to recompute.
_KEPT = {"blocks": None, "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable}
_BLOCK = re.compile(r"(\w*Block)_(\d+)")
_STACK = re.compile(r"(\w*Block)s")
_BLOCK_IN_NAME = re.compile(r"((?:^|.*/)\w*Block)_\d+(/.*)")
_STACK_IN_NAME = re.compile(r"((?:^|.*/)\w*Block)s(/.*)")


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
    """Maps [B, S, C] to [B, S, C] by blocks in the calling module, which must be compact.

    Args:
      block: its instances map (x, *inputs, train=...) to an array like x, and with stochastic depth
        take `drop_path_rate`, a scalar.
      fields: fields of every block.
      x: input of the first block.
      *inputs: further inputs of every block, such as a padding mask.
      num_blocks: number of blocks.
      train: whether to apply dropout and stochastic depth.
      stochastic_depth: drop probability of the last block; grows linearly from 0 in the first.
      scan_layers: False names blocks `MixerBlock_0`, `MixerBlock_1` ...; True compiles one block
        and loops over its parameters, stored under `MixerBlocks` with a leading axis of
        `num_blocks`. Initial values and dropout masks differ between the two.
      remat: what the backward pass recomputes: "none"; "blocks", all but the blocks' inputs;
        "dots", all but these and the products with weights.
      all_states: whether to return a list of [B, S, C] instead, of x and each block's result.
    """

    def apply(module: nn.Module, x, drop_path_rate, *inputs):
        rate = {} if drop_path_rate is None else {"drop_path_rate": drop_path_rate}
        return module(materialized(x), *inputs, train=train, **rate)

    if remat != "none":  # In a loop, XLA cannot merge forward and backward pass anyway.
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


def stack_name(block: str) -> str:
    """Returns the name of a stack of blocks: `MixerBlocks` for `MixerBlock`."""
    return f"{block}s"


def is_stacked(name: str) -> bool:
    """Whether a parameter has a leading axis of blocks, as `encoder/GmlpBlocks/norm/scale` has."""
    return _STACK_IN_NAME.fullmatch(name) is not None


def names_by_stack(params: Mapping[str, Any]) -> dict[str, list[str]]:
    """Maps stacked names of block parameters to unstacked ones.

    Keys are like `MixerBlocks/...`, values lists of names like `MixerBlock_0/...`; `params` may be
    in either layout.
    """
    names: dict[str, list[str]] = {}
    for name, leaf in flatten(params).items():
        if stack := _STACK_IN_NAME.fullmatch(name):
            names[name] = [f"{stack[1]}_{i}{stack[2]}" for i in range(leaf.shape[0])]
        elif block := _BLOCK_IN_NAME.fullmatch(name):
            names.setdefault(stack_name(block[1]) + block[2], []).append(name)
    return names


def has_stacks(tree: Any) -> bool:
    """Whether `tree`, see `stack_blocks`, is in the stacked layout."""
    return any(True for _ in _stacks(tree))


def in_layout_of(pattern: Any, tree: Any) -> Any:
    """Converts `tree` to the layout of `pattern`."""
    if has_stacks(pattern):
        return stack_blocks(tree)
    return unstack_blocks(tree)


def stack_blocks(tree: Any) -> Any:
    """Converts `tree` to the stacked layout.

    It may be any tree with nested dictionaries of parameters, such as a `TrainState`. Leaves are
    NumPy or JAX arrays, or `jax.ShapeDtypeStruct`, which keep their shardings.
    """

    def stack(node: Mapping[str, Any]) -> dict[str, Any]:
        others, kinds = {}, {}
        for key, value in node.items():
            if match := _BLOCK.fullmatch(key):
                kinds.setdefault(match[1], {})[int(match[2])] = value
            else:
                others[key] = stack_blocks(value)
        for kind, blocks in kinds.items():
            in_order = (blocks[i] for i in range(len(blocks)))
            others[stack_name(kind)] = jax.tree.map(lambda *leaves: _join(leaves), *in_order)
        return others

    return _replace(tree, _BLOCK, stack)


def unstack_blocks(tree: Any) -> Any:
    """Inverts `stack_blocks`.

    Stacks without an array, as in an optimizer state of frozen parameters, get as many blocks as
    those of the same kind elsewhere in `tree`.
    """
    sizes = dict(_stacks(tree))

    def unstack(node: Mapping[str, Any]) -> dict[str, Any]:
        result = {}
        for key, value in node.items():
            if match := _STACK.fullmatch(key):
                for i in range(sizes[key]):
                    block = jax.tree.map(lambda leaf, i=i: _take(leaf, i), value)
                    result[f"{match[1]}_{i}"] = block
            else:
                result[key] = _replace(value, _STACK, unstack)
        return result

    return _replace(tree, _STACK, unstack)


def _replace(tree: Any, key: re.Pattern, change: Callable[[Mapping[str, Any]], Any]) -> Any:
    """Applies `change` to the outermost dictionaries in `tree` that have a matching key."""

    def has_key(node: Any) -> bool:
        return isinstance(node, Mapping) and any(key.fullmatch(name) for name in node)

    return jax.tree.map(lambda node: change(node) if has_key(node) else node, tree, is_leaf=has_key)


def _stacks(tree: Any) -> Iterator[tuple[str, int]]:
    """Yields the name of the stack and its number of blocks, for each stacked array."""
    for path, leaf in jax.tree.leaves_with_path(tree):
        for key in path:
            if isinstance(key, jax.tree_util.DictKey) and _STACK.fullmatch(key.key):
                yield key.key, leaf.shape[0]


def _join(leaves: tuple) -> Any:
    first = leaves[0]
    if isinstance(first, jax.ShapeDtypeStruct):
        sharding = _with_spec(first.sharding, lambda spec: (None, *spec))
        return jax.ShapeDtypeStruct((len(leaves), *first.shape), first.dtype, sharding=sharding)
    return np.stack(leaves) if isinstance(first, np.ndarray) else jnp.stack(leaves)


def _take(leaf: Any, block: int) -> Any:
    if isinstance(leaf, jax.ShapeDtypeStruct):
        sharding = _with_spec(leaf.sharding, lambda spec: spec[1:])
        return jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype, sharding=sharding)
    return leaf[block]


def _with_spec(sharding: NamedSharding | None, change: Callable) -> NamedSharding | None:
    if sharding is None:
        return None
    return NamedSharding(sharding.mesh, PartitionSpec(*change(tuple(sharding.spec))))
