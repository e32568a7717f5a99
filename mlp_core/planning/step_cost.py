"""Compiles a step of a run and tells what it needs of each device: memory, arithmetic, time."""

import dataclasses
import math
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from mlp_core.checkpoints.train_state import TrainState
from mlp_core.errors import UserError
from mlp_core.planning.chips import GIB, Chip
from mlp_core.planning.hlo import ProgramCost, parse_program, program_cost
from mlp_core.planning.matmul_flops import matmul_flops

_TOO_MUCH = "RESOURCE_EXHAUSTED"
_WANTED = re.compile(r"required for [\w ]+ \(([\d.]+)([KMGT])\)|Used ([\d.]+)([KMGT]) of")
_UNITS = {"K": 2**10, "M": 2**20, "G": GIB, "T": 2**40}


@dataclasses.dataclass(frozen=True)
class StepCost:
    """What one step costs one device."""

    compile_seconds: float
    flops: float  # Of its matrix products; their share of this device.
    # Bytes by kind; of what the compiler wants only what is known where it does not fit.
    memory: Mapping[str, float]
    fits: bool
    program: ProgramCost | None  # None where the compiler gave up for want of memory.
    wanted: float = 0.0  # Bytes, where it does not fit; 0 where the compiler does not say.

    @property
    def total_memory(self) -> float:
        """Bytes of all kinds, or those that the compiler wanted where they are more."""
        return max(sum(self.memory.values()), self.wanted)

    def seconds(self, chip: Chip | None) -> float | None:
        """By the compiler's cycles, with waiting for collectives; None without such cycles."""
        if chip is None or self.program is None or not self.program.cycles:
            return None
        return (self.program.total_cycles + self.program.waiting_cycles) / chip.clock

    def least_seconds(self, chip: Chip | None) -> float | None:
        """A lower bound of `seconds`: matrix products at peak, with waiting for collectives."""
        if self.seconds(chip) is None:
            return None
        return self.flops / chip.peak_flops + self.waiting_seconds(chip)

    def waiting_seconds(self, chip: Chip | None) -> float | None:
        """The part of `seconds` in which the device only sends and receives."""
        if chip is None or self.program is None:
            return None
        return self.program.waiting_cycles / chip.clock

    def share_of_peak(self, chip: Chip | None) -> float | None:
        """What the matrix products alone would take of these seconds."""
        seconds = self.seconds(chip)
        return None if seconds is None else self.flops / chip.peak_flops / seconds

    def sending_seconds(self, chip: Chip | None) -> float | None:
        """What sending takes over all links at once; part of it is hidden behind arithmetic."""
        if chip is None or self.program is None:
            return None
        return sum(self.program.bytes_sent.values()) / chip.link_bytes


def compile_step(
    step: Any,
    arguments: Sequence[Any],
    num_devices: int,
    memory_limit: float | None = None,
    chip: Chip | None = None,
) -> StepCost:
    """What a jitted step costs the devices of its arguments' shardings; see `compile_program`."""
    return compile_program(step, arguments, num_devices, memory_limit, chip)[0]


def compile_program(
    step: Any,
    arguments: Sequence[Any],
    num_devices: int,
    memory_limit: float | None = None,
    chip: Chip | None = None,
) -> tuple[StepCost, jax.stages.Compiled | None]:
    """Compiles a jitted step for the devices of its arguments' shardings.

    Args:
      step: from `jax.jit`.
      arguments: of `step`; the first, a `TrainState` or parameters, and the last, the batch, are
        shapes with shardings.
      num_devices: of the mesh.
      memory_limit: bytes of a device, for those whose compiler does not look at it.
      chip: the devices, if they are TPUs; without it sending takes no time.

    Returns its cost and the program; None where the compiler gave up for want of memory.

    Raises:
        UserError: it cannot be compiled, for another reason than want of memory.
    """
    traced = step.trace(*arguments)
    flops = matmul_flops(traced.jaxpr) / num_devices
    memory = _state_memory(arguments[0]) | {"batch": _bytes_here(arguments[-1])}
    started = time.perf_counter()
    try:
        compiled = traced.lower().compile()
    except jax.errors.JaxRuntimeError as error:
        if not is_want_of_memory(error):
            reason = str(error).splitlines()[0]
            raise UserError(f"the compiler cannot make a program of it: {reason}") from error
        seconds = time.perf_counter() - started
        return StepCost(seconds, flops, memory, False, None, _wanted(str(error))), None
    seconds = time.perf_counter() - started
    stats = compiled.memory_analysis()
    memory |= {
        "padding": max(stats.argument_size_in_bytes - sum(memory.values()), 0.0),
        "activations": stats.temp_size_in_bytes,
        "results": stats.output_size_in_bytes - stats.alias_size_in_bytes,
        "program": stats.generated_code_size_in_bytes,
    }
    bytes_per_cycle = chip.link_bytes / chip.clock if chip else math.inf
    cost = program_cost(parse_program(compiled.as_text()), bytes_per_cycle)
    fits = memory_limit is None or sum(memory.values()) <= memory_limit
    return StepCost(seconds, flops, memory, fits, cost), compiled


def is_want_of_memory(error: jax.errors.JaxRuntimeError) -> bool:
    """Whether a program, or what it works on, found no room on a device."""
    return _TOO_MUCH in str(error)


def _state_memory(state: Any) -> dict[str, float]:
    if not isinstance(state, TrainState):
        return {"parameters": _bytes_here(state)}
    parts = {"parameters": state.params, "optimizer": state.opt_state, "average": state.ema_params}
    return {name: _bytes_here(part) for name, part in parts.items() if jax.tree.leaves(part)}


def _bytes_here(tree: Any) -> float:
    """Bytes of a tree of shapes on each device."""
    return float(
        sum(
            jax.ShapeDtypeStruct(leaf.sharding.shard_shape(leaf.shape), leaf.dtype).size
            * leaf.dtype.itemsize
            for leaf in jax.tree.leaves(tree)
        )
    )


def _wanted(message: str) -> float:
    """Bytes that the compiler says the program needs."""
    found = _WANTED.search(message)
    if not found:
        return 0.0
    number, unit = (group for group in found.groups() if group is not None)
    return float(number) * _UNITS[unit]
