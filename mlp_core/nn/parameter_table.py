"""What a model's parameters are, for the eye."""

import jax
from clu import parameter_overview

from mlp_core.nn.parameters import count, flatten


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
