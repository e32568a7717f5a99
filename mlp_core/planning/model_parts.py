"""Which part of a model an operation belongs to, by the name that it has in the traced Python.

Such a name is `jit(train_step)/transpose(jvp(Mixer))/MixerBlock_3/token_mixing/dot_general`: the
functions that were transformed and called, modules and named scopes, and the operation itself.
"""

import collections
import re
from collections.abc import Mapping

DEPTH = 3  # Modules within one another that are told apart.
OTHER = "other"

_WRAPPED = re.compile(r"^(\w+)\((.*)\)$")
_STRUCTURE = re.compile(
    r"while|body|cond|closed_call|core_call|remat\d*|checkpoint|rematted_computation|scan|"
    r"branch_\d+_fun|custom_[jv][jv]p_call\w*|shard_map|"
)
_MODEL = re.compile(r"[A-Z][A-Za-z]*")  # The outermost module has no number.
_BLOCK = re.compile(r"(\w*Block)_\d+")


def part_of(op_name: str) -> tuple[str, str]:
    """The part and the phase of an operation: ("MixerBlock_*/token_mixing/Dense_0", "backward").

    Blocks count as one. The phase is empty outside the model and its derivative.
    """
    phase, path = "", []
    *components, _ = op_name.split("/")
    for component in components:
        if component == "rematted_computation":
            phase = "recomputed"
        while wrapped := _WRAPPED.match(component):
            function, component = wrapped.groups()
            if function == "transpose":
                phase = "backward"
            elif function == "jvp" and not phase:
                phase = "forward"
            elif function in ("jit", "pjit"):
                component = ""
        if not _STRUCTURE.fullmatch(component):
            path.append(_BLOCK.sub(r"\1_*", component))
    if path and _MODEL.fullmatch(path[0]):
        del path[0]
    if not path:
        return OTHER, phase
    return "/".join(path[:DEPTH]), phase


def cycles_by_part(cycles: Mapping[str, float]) -> list[tuple[str, str, float]]:
    """Part, phase and cycles, the costliest first, from the cycles of operations by name."""
    parts: collections.Counter[tuple[str, str]] = collections.Counter()
    for op_name, number in cycles.items():
        parts[part_of(op_name)] += number
    return [(part, phase, number) for (part, phase), number in parts.most_common()]
