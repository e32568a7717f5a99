"""Parameter trees by name, and tables of them: `MixerBlock_0/token_mixing/Dense_0/kernel`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from clu import parameter_overview
from flax import traverse_util

from mlp_core.data.sources import digest_of
from mlp_core.errors import UserError

MOST_LINES = 12  # Of mismatches shown one by one.


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


def digest(params: Mapping[str, Any]) -> str:
    """A digest of a tree of arrays on the host and of their names."""
    named = flatten(params)
    return digest_of(
        part for name in sorted(named) for part in (name.encode(), np.asarray(named[name]))
    )


def count(params: Any) -> int:
    """Number of scalars in a tree of arrays or of their shapes."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def check_shapes(
    path: Path, there: Mapping[str, tuple[int, ...]], expected: Mapping[str, Any], title: str
) -> None:
    """Compares the names and shapes in a file with those of the model that is to have them.

    Args:
      path: the file, or the folder of a checkpoint.
      there: its shapes, by our names.
      expected: the model's arrays, or what has their shapes, by name.
      title: the model in words.

    Raises:
        UserError: they differ; names what is missing, foreign or of another shape.
    """
    wanted = {name: leaf.shape for name, leaf in expected.items()}
    problems = [
        f"{name}: {there[name]} there, {wanted[name]} expected"
        for name in wanted
        if name in there and there[name] != wanted[name]
    ]
    problems += [f"{n}: missing, {wanted[n]} expected" for n in wanted if n not in there]
    problems += [f"{n}: {there[n]} there, foreign to the model" for n in there if n not in wanted]
    if problems:
        shown = problems[:MOST_LINES]
        if len(problems) > len(shown):
            shown.append(f"and {len(problems) - len(shown)} more")
        raise UserError(
            f"{path}: these are not the whole weights of {title}, or they hold more:\n  "
            + "\n  ".join(shown)
        )


def parameter_table(params) -> str:
    """Every parameter with shape, type and size."""
    return parameter_overview.get_parameter_overview(params, include_stats=False)


def parameter_summary(params) -> str:
    """One line a top-level module: how many arrays, of how many scalars together."""
    modules = sorted(params.items(), key=lambda item: _in_order_of_number(item[0]))
    rows = [(name, len(jax.tree.leaves(module)), count(module)) for name, module in modules]
    rows.append(("all parameters", len(flatten(params)), count(params)))
    width = max(len(name) for name, _, _ in rows)
    return "\n".join(
        f"  {name:<{width}}  {arrays:>4} arrays  {size:>13,}" for name, arrays, size in rows
    )


def _in_order_of_number(name: str) -> tuple[str, int]:
    """MixerBlock_2 before MixerBlock_10."""
    stem, _, number = name.rpartition("_")
    return (stem, int(number)) if number.isdigit() else (name, 0)
