"""Parameter trees by name (`MixerBlock_0/token_mixing/Dense_0/kernel`), and tables of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from clu import parameter_overview
from flax import traverse_util

from mlp_core.data.sources import digest_of
from mlp_core.errors import UserError

MOST_LINES = 12  # Mismatches listed in a message.


def flatten(params: Mapping[str, Any]) -> dict[str, Any]:
    """Flattens a parameter tree to {slash-separated name: leaf}, in the tree's order."""
    return traverse_util.flatten_dict(params, sep="/")


def unflatten(named: Mapping[str, Any]) -> dict[str, Any]:
    """Inverts `flatten`."""
    return traverse_util.unflatten_dict(dict(named), sep="/")


def parameter_names(params: Mapping[str, Any]) -> Any:
    """Returns a tree like `params` whose leaves are their names."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: "/".join(str(key.key) for key in path), params
    )


def digest(params: Mapping[str, Any]) -> str:
    """Returns a digest of a tree of host arrays and of their names."""
    named = flatten(params)
    return digest_of(
        part for name in sorted(named) for part in (name.encode(), np.asarray(named[name]))
    )


def count(params: Any) -> int:
    """Returns the number of scalars in a tree of arrays or of their shapes."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def check_shapes(
    path: Path, there: Mapping[str, tuple[int, ...]], expected: Mapping[str, Any], title: str
) -> None:
    """Compares the names and shapes in a file with those of a model.

    Args:
      path: the file, or the directory of a checkpoint.
      there: its shapes, by parameter name.
      expected: the model's arrays or their shapes, by name.
      title: description of the model.

    Raises:
        UserError: they differ; lists missing, unexpected and mismatched parameters.
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
    """Returns a table of all parameters with shape, type and size."""
    return parameter_overview.get_parameter_overview(params, include_stats=False)


def parameter_summary(params) -> str:
    """Formats one line per top-level module: its numbers of arrays and scalars."""
    modules = sorted(params.items(), key=lambda item: _in_order_of_number(item[0]))
    rows = [(name, len(jax.tree.leaves(module)), count(module)) for name, module in modules]
    rows.append(("all parameters", len(flatten(params)), count(params)))
    width = max(len(name) for name, _, _ in rows)
    return "\n".join(
        f"  {name:<{width}}  {arrays:>4} arrays  {size:>13,}" for name, arrays, size in rows
    )


def _in_order_of_number(name: str) -> tuple[str, int]:
    """Sort key that puts MixerBlock_2 before MixerBlock_10."""
    stem, _, number = name.rpartition("_")
    return (stem, int(number)) if number.isdigit() else (name, 0)
