"""Reads the text of a compiled program, and adds up what it costs on a TPU.

A program is a set of named computations, one of which is the entry. An instruction has the form

    ROOT %name = SHAPE opcode(%operand, ...), attribute=..., metadata={...}, backend_config={...}
"""

import collections
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
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
_RUN_IN_ORDER = ("while", "conditional", "call")  # These wait for their own collectives.
_PASSED_ON = ("copy", "bitcast", "convert", "reshape")
_KNOWN_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_INDEX = re.compile(r"index=(\d+)")
_INTEGER = re.compile(r"^-?\d+$")


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


@dataclasses.dataclass(frozen=True)
class ProgramCost:
    """Of one device, each time the program runs."""

    # By the name that an operation has in the traced Python; empty where the compiler says nothing
    # of cycles, as for a CPU.
    cycles: collections.Counter[str]
    bytes_sent: collections.Counter[str]  # By kind of collective.
    waiting_cycles: float  # In which nothing is computed because a collective is being sent.
    uncounted_loops: int  # Of which it is not known how often they go round; counted once.

    @property
    def total_cycles(self) -> float:
        """Of all operations, one after the other."""
        return sum(self.cycles.values())


def program_cost(program: Program, bytes_per_cycle: float = math.inf) -> ProgramCost:
    """Adds up a program whose device sends `bytes_per_cycle` over all its links at once."""
    return _Costs(program, bytes_per_cycle).of(program.entry)


class _Costs:
    """The costs of a program's computations, each worked out once."""

    def __init__(self, program: Program, bytes_per_cycle: float):
        """Nothing is added up yet."""
        self._program = program
        self._bytes_per_cycle = bytes_per_cycle
        self._of_name = functools.cache(lambda name: self.of(program.computations[name]))

    def of(self, computation: Computation) -> ProgramCost:
        """What running `computation` once costs."""
        cycles, sent, uncounted = collections.Counter(), collections.Counter(), 0
        links = _Links(self._bytes_per_cycle)
        for instruction in computation.instructions.values():
            own_cycles, own_bytes = instruction.estimated_cycles, collections.Counter()
            if own_cycles:
                cycles[instruction.op_name] += own_cycles
            own_bytes.update(_sent(instruction, computation))
            for part, times in self._parts(instruction, computation):
                for op, number in part.cycles.items():
                    cycles[op] += times * number
                links.compute(times * (part.total_cycles + part.waiting_cycles))
                links.waited += times * part.waiting_cycles
                of_part = sent if instruction.opcode in _RUN_IN_ORDER else own_bytes
                for kind, amount in part.bytes_sent.items():
                    of_part[kind] += times * amount
                uncounted += part.uncounted_loops
            if instruction.opcode == "while" and self._trips(instruction, computation) is None:
                uncounted += 1
            links.run(instruction, own_cycles, own_bytes.total())
            sent.update(own_bytes)
        return ProgramCost(cycles, sent, links.waited, uncounted)

    def _parts(
        self, instruction: Instruction, computation: Computation
    ) -> list[tuple[ProgramCost, int]]:
        """What an instruction runs besides itself, and how often."""
        match instruction.opcode:
            case "while":
                trips = self._trips(instruction, computation)
                once = 1 if trips is None else trips
                names = instruction.called("body") + instruction.called("condition")
                return [(self._of_name(name), once) for name in names]
            case "conditional":
                names = instruction.called("branch_computations") or (
                    instruction.called("true_computation") + instruction.called("false_computation")
                )
                return [(max(map(self._of_name, names), key=lambda cost: cost.total_cycles), 1)]
            case "call":
                return [(self._of_name(name), 1) for name in instruction.called("to_apply")]
            case "fusion" | "async-start":  # Their cycles stand at the instruction itself.
                inner = [self._of_name(name) for name in instruction.called("calls")]
                return [
                    (
                        ProgramCost(
                            collections.Counter(), cost.bytes_sent, 0, cost.uncounted_loops
                        ),
                        1,
                    )
                    for cost in inner
                ]
        return []

    def _trips(self, loop: Instruction, computation: Computation) -> int | None:
        """How often a loop goes round; None for one that does not plainly count to a constant."""
        if known := _KNOWN_TRIPS.search(loop.attributes):
            return int(known.group(1))
        condition, body = (
            self._program.computations[loop.called(name)[0]] for name in ("condition", "body")
        )
        start = _source(computation, loop.operands[0])
        test = condition.root
        if (test.opcode, start.opcode) != ("compare", "tuple") or "=LT" not in test.attributes:
            return None
        counter, limit = (_source(condition, name) for name in test.operands)
        if counter.opcode != "get-tuple-element":
            return None
        place = _place(counter)
        first = _constant(_source(computation, start.operands[place]))
        if limit.opcode == "get-tuple-element":  # A constant that the loop carries along.
            limit = _source(computation, start.operands[_place(limit)])
        last, step = _constant(limit), _step(body, place)
        if first is None or last is None or not step:
            return None
        return max(-(-(last - first) // step), 0)


class _Links:
    """Goes through a schedule and adds up how long the device waits for its collectives."""

    def __init__(self, bytes_per_cycle: float):
        """The schedule begins, and the links are free."""
        self.waited = 0.0
        self._bytes_per_cycle = bytes_per_cycle
        self._now = 0.0
        self._free = 0.0  # When the links have sent all that was started.
        self._sent_at: dict[str, float] = {}  # Of collectives started and not yet waited for.

    def compute(self, cycles: float) -> None:
        """The device is busy."""
        self._now += cycles

    def run(self, instruction: Instruction, cycles: float, num_bytes: float) -> None:
        """Computes for `cycles`, while `num_bytes` are sent if the instruction starts that."""
        start, self._now = self._now, self._now + cycles
        if instruction.opcode.endswith("-done"):
            self._wait(self._sent_at.pop(instruction.operands[0], 0.0))
        elif num_bytes:
            self._free = max(self._free, start) + num_bytes / self._bytes_per_cycle
            if instruction.opcode.endswith("-start"):
                self._sent_at[instruction.name] = self._free
            else:
                self._wait(self._free)

    def _wait(self, until: float) -> None:
        waiting = max(until - self._now, 0.0)
        self.waited += waiting
        self._now += waiting


def _step(body: Computation, place: int) -> int | None:
    """What a round adds to the counter that the loop carries at `place`."""
    added = _source(body, body.root.operands[place])
    if added.opcode != "add":
        return None
    constants = [_constant(_source(body, name)) for name in added.operands]
    return next((constant for constant in constants if constant is not None), None)


def _source(computation: Computation, name: str) -> Instruction:
    """The instruction that makes a value; it may have been copied or reshaped since."""
    instruction = computation.instructions[name]
    while instruction.opcode in _PASSED_ON:
        instruction = computation.instructions[instruction.operands[0]]
    return instruction


def _place(element: Instruction) -> int:
    return int(_INDEX.search(element.attributes).group(1))


def _constant(instruction: Instruction) -> int | None:
    is_integer = instruction.opcode == "constant" and _INTEGER.match(instruction.arguments)
    return int(instruction.arguments) if is_integer else None


def _sent(instruction: Instruction, computation: Computation) -> dict[str, float]:
    """Bytes that a device sends in a collective, on a large ring."""
    kind = instruction.opcode.removesuffix("-start")
    if kind not in COLLECTIVES:
        return {}
    put_in = sum(computation.instructions[name].num_bytes for name in instruction.operands)
    if kind == "all-reduce":  # First the parts, then their sums.
        return {kind: 2 * put_in}
    if kind == "all-gather":
        started = instruction.opcode != kind  # Then what is put in is among the results.
        return {kind: instruction.num_bytes - (put_in if started else 0)}
    return {kind: put_in}
