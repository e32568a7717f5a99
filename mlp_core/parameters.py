"""Parameter trees by name: `MixerBlock_0/token_mixing/Dense_0/kernel`."""

from collections.abc import Mapping
from typing import Any

import jax
from flax import traverse_util


def flatten(params: Mapping[str, Any]) -> dict[str, Any]:
    """A nested parameter tree as {slash-separated name: leaf}, in the tree's order."""
    return traverse_util.flatten_dict(params, sep="/")


def unflatten(named: Mapping[str, Any]) -> dict[str, Any]:
    """The nested tree of `flatten`'s result."""
    return traverse_util.unflatten_dict(dict(named), sep="/")


def parameter_names(params: Mapping[str, Any]) -> Any:
    """A tree like `params` whose leaves are their own names."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: "/".join(str(key.key) for key in path), params
    )


def count(params: Any) -> int:
    """Number of scalars in a tree of arrays or of their shapes."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
