"""Reads the text of a compiled program: computations, their instructions, and what these call.

A program is a set of named computations, one of which is the entry. An instruction has the form

    ROOT %name = SHAPE opcode(%operand, ...), attribute=..., metadata={...}, backend_config={...}
"""

import dataclasses
import functools
import math
import re
from collections.abc import Mapping

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (.*)$")
_OPCODE = re.compile(r"\s*([\w\-]+)\(")
_CALLED = re.compile(r"(\w+)=(?:%([\w.\-]+)|\{(%[^}]*)\})")
_NAME = re.compile(r"%([\w.\-]+)")
_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\]")
_BITS = re.compile(r"\d+")
_OP_NAME = re.compile(r'op_name="([^"]*)"')
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a computation."""

    name: str
    shape: str  # Such as f32[64,512]{1,0}, or several in parentheses.
    opcode: str
    arguments: str  # What stands in the parentheses behind the opcode.
    attributes: str  # What follows.
    is_root: bool

    @functools.cached_property
    def operands(self) -> list[str]:
        """The names of the instructions whose results it takes."""
        return _NAME.findall(self.arguments)

    @property
    def op_name(self) -> str:
        """Where it comes from in the traced Python, by names with slashes; empty if not known."""
        found = _OP_NAME.search(self.attributes)
        return found.group(1) if found else ""

    @property
    def estimated_cycles(self) -> int:
        """What the TPU's compiler thinks it takes; 0 where it does not say."""
        found = _CYCLES.search(self.attributes)
        return int(found.group(1)) if found else 0

    @property
    def num_bytes(self) -> int:
        """Size of its results, without padding."""
        return sum(
            math.prod(int(size) for size in sizes.split(",") if size) * _bytes_of(kind)
            for kind, sizes in _ARRAY.findall(self.shape)
        )

    def called(self, attribute: str) -> list[str]:
        """The computations that an attribute such as `body` or `calls` names."""
        for name, one, several in _CALLED.findall(self.attributes):
            if name == attribute:
                return [one] if one else _NAME.findall(several)
        return []


@dataclasses.dataclass(frozen=True)
class Computation:
    """Instructions by name, in the order in which they run."""

    instructions: Mapping[str, Instruction]

    @property
    def root(self) -> Instruction:
        """The instruction whose result is that of the computation."""
        return next(i for i in self.instructions.values() if i.is_root)


@dataclasses.dataclass(frozen=True)
class Program:
    """The computations of a compiled program by name."""

    computations: Mapping[str, Computation]
    entry: Computation


def parse_program(text: str) -> Program:
    """Reads what `jax.stages.Compiled.as_text` gives.

    Raises:
        ValueError: there is no entry in it.
    """
    computations: dict[str, Computation] = {}
    entry = None
    instructions: dict[str, Instruction] = {}
    for line in text.splitlines():
        if header := _COMPUTATION.match(line):
            instructions = {}
            computations[header.group(2)] = Computation(instructions)
            if header.group(1):
                entry = computations[header.group(2)]
        elif parsed := _INSTRUCTION.match(line):
            instruction = _instruction(*parsed.groups())
            instructions[instruction.name] = instruction
    if entry is None:
        raise ValueError("the text of the program has no entry computation")
    return Program(computations, entry)


def _instruction(root: str | None, name: str, rest: str) -> Instruction:
    shape_end = _closing(rest, 0) if rest.startswith("(") else rest.index(" ")
    opcode = _OPCODE.match(rest, shape_end)
    arguments_end = _closing(rest, opcode.end() - 1)
    return Instruction(
        name=name,
        shape=rest[:shape_end],
        opcode=opcode.group(1),
        arguments=rest[opcode.end() : arguments_end - 1],
        attributes=rest[arguments_end:],
        is_root=root is not None,
    )


def _closing(text: str, start: int) -> int:
    """The place behind the parenthesis that closes the one at `start`."""
    depth = 0
    for place in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if depth == 0:
            return place + 1
    raise ValueError(f"no parenthesis closes the one at {start} of {text[:80]!r}")


def _bytes_of(kind: str) -> float:
    """Bytes of a scalar: "f32", "bf16", "s8"; a pred takes one, a token none."""
    bits = _BITS.search(kind)
    return int(bits.group()) / 8 if bits else float(kind == "pred")
