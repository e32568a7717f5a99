"""Which part of a model an operation belongs to, by the name that it has in the traced Python.

Such a name is `jit(train_step)/transpose(jvp(Mixer))/MixerBlock_3/token_mixing/dot_general`: the
functions that were transformed and called, modules and named scopes, and the operation itself.
"""

import collections
import re
from collections.abc import Mapping

DEPTH = 3  # Modules within one another that are told apart.
OTHER, LOOP = "other", "arrays that a loop carries"

_WRAPPED = re.compile(r"(\w+)\((.*)\)")
_STRUCTURE = re.compile(
    r"|while|body|cond|closed_call|core_call|eval_jaxpr|remat\d*|checkpoint|"
    r"rematted_computation|shard_map|"
    r"branch_\d+_fun|custom_[jv][jv]p_call\w*|"
    r"\w+\.\w+|"  # A method of a module: Flax's transforms.
    r".*->.*"  # An einsum.
)
_MODEL = re.compile(r"[A-Z][A-Za-z]*(?<!Blocks)")  # The outermost module has no number.
_BLOCK = re.compile(r"(\w*Block)_\d+")


def part_of(op_name: str) -> tuple[str, str]:
    """The part and the phase of an operation: ("MixerBlock_*/token_mixing/Dense_0", "backward").

    Blocks count as one. The phase is empty outside the model and its derivative.
    """
    *components, _ = op_name.removeprefix("(").partition(":")[0].split("/")  # Of several, one.
    phase, path, is_loops_own = "", [], False
    for component in components:
        if component == "rematted_computation":
            phase = "recomputed"
        is_loops_own |= component == "while"
        component, functions = _unwrapped(component)
        if "transpose" in functions:
            phase = "backward"
        elif "jvp" in functions:
            phase = phase or "forward"
        is_model = "jvp" in functions or (not path and not phase and _MODEL.fullmatch(component))
        is_call = "jit" in functions or "pjit" in functions
        if not (is_model or is_call or _STRUCTURE.fullmatch(component)):
            path.append(_BLOCK.sub(r"\1_*", component))
            is_loops_own = False
    path = path[:DEPTH] + [LOOP] * is_loops_own
    return "/".join(path) or OTHER, phase


def _unwrapped(component: str) -> tuple[str, list[str]]:
    """`transpose(jvp(Mixer))` as `Mixer` and the functions around it."""
    functions = []
    while wrapped := _WRAPPED.fullmatch(component):
        functions.append(wrapped.group(1))
        component = wrapped.group(2)
    return component, functions


def cycles_by_part(cycles: Mapping[str, float]) -> list[tuple[str, str, float]]:
    """Part, phase and cycles, the costliest first, from the cycles of operations by name."""
    parts: collections.Counter[tuple[str, str]] = collections.Counter()
    for op_name, number in cycles.items():
        parts[part_of(op_name)] += number
    return [(part, phase, number) for (part, phase), number in parts.most_common()]
