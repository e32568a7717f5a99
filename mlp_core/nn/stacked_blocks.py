"""Parameters of scanned blocks: `MixerBlocks/...` in place of `MixerBlock_0/...` and the others.

In the stacked layout the arrays of all blocks of a kind are one array with a leading axis of
blocks. Weight files, and whatever uses trained parameters, have the other layout.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from mlp_core.nn.parameters import flatten

_BLOCK = re.compile(r"(\w*Block)_(\d+)")
_STACK = re.compile(r"(\w*Block)s")
_BLOCK_IN_NAME = re.compile(r"((?:^|.*/)\w*Block)_\d+(/.*)")
_STACK_IN_NAME = re.compile(r"((?:^|.*/)\w*Block)s(/.*)")


def stack_name(block: str) -> str:
    """What all blocks of a kind are called together: `MixerBlocks` for `MixerBlock`."""
    return f"{block}s"


def is_stacked(name: str) -> bool:
    """Whether a parameter has a leading axis of blocks, as `encoder/GmlpBlocks/norm/scale` has."""
    return _STACK_IN_NAME.fullmatch(name) is not None


def names_by_stack(params: Mapping[str, Any]) -> dict[str, list[str]]:
    """What parameters of blocks are called in the one layout and in the other.

    Names like `MixerBlocks/...`, and of each the names like `MixerBlock_0/...`; `params` may be in
    either layout.
    """
    names: dict[str, list[str]] = {}
    for name, leaf in flatten(params).items():
        if stack := _STACK_IN_NAME.fullmatch(name):
            names[name] = [f"{stack[1]}_{i}{stack[2]}" for i in range(leaf.shape[0])]
        elif block := _BLOCK_IN_NAME.fullmatch(name):
            names.setdefault(stack_name(block[1]) + block[2], []).append(name)
    return names


def has_stacks(tree: Any) -> bool:
    """Whether `tree` is in the stacked layout; see `stack_blocks` for what it may be."""
    return any(True for _ in _stacks(tree))


def in_layout_of(pattern: Any, tree: Any) -> Any:
    """`tree` in the layout that `pattern` is in."""
    if has_stacks(pattern):
        return stack_blocks(tree)
    return unstack_blocks(tree)


def stack_blocks(tree: Any) -> Any:
    """`tree` in the stacked layout.

    It may be any that holds nested dictionaries of parameters, such as a `TrainState`. Leaves are
    arrays of numpy or JAX, or `jax.ShapeDtypeStruct`, which keep their shardings.
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
    """`tree` with a name for each block: undoes `stack_blocks`.

    Blocks without an array, as an optimizer has them for what is frozen, are as many as those of
    the same kind elsewhere in `tree`.
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
    """`tree` with `change` of the dictionaries, none inside another, that have such a key."""

    def has_key(node: Any) -> bool:
        return isinstance(node, Mapping) and any(key.fullmatch(name) for name in node)

    return jax.tree.map(lambda node: change(node) if has_key(node) else node, tree, is_leaf=has_key)


def _stacks(tree: Any) -> Iterator[tuple[str, int]]:
    """The name of the stack and its number of blocks, for each stacked array."""
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
