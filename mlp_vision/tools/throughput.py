"""Measures images per second of models on the local devices, beside the papers' figures.

The programs are those of a run: the evaluation pass and the training step of a recipe from
configs/, with another model, image size or batch. Random images are generated on the devices, so
that disk and host do not matter.
"""

import dataclasses
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from ml_collections import ConfigDict

from mlp_core.distributed.mesh import make_mesh, put_whole
from mlp_core.nn.parameters import count
from mlp_core.planning.planned_run import Examples, PlannedRun
from mlp_core.planning.step_cost import StepCost, compile_program, is_want_of_memory
from mlp_core.train.loop import check_batch_sizes
from mlp_core.train.programs import Programs, make_programs
from mlp_vision.tasks.planning import planned_run

WARM_UP_CALLS = 2
TURNS = 5
TURN_SECONDS = 0.5  # A turn has as many calls as fit, and at least one.
FORWARD, TRAINING = "forward", "training"
STEPS = (FORWARD, TRAINING)


@dataclasses.dataclass(frozen=True)
class TimedTurns:
    """Seconds of one call in each turn."""

    seconds: tuple[float, ...]
    calls: int  # Per turn.

    @property
    def median(self) -> float:
        """Median over the turns."""
        return statistics.median(self.seconds)


def timed_turns(call: Callable[[], Any], turn_seconds: float = TURN_SECONDS) -> TimedTurns:
    """Times `call`, which dispatches work to the devices and returns the resulting arrays.

    Calls of a turn are queued asynchronously, as in a run; only the last is awaited.
    """
    for _ in range(WARM_UP_CALLS):
        jax.block_until_ready(call())
    calls = max(int(turn_seconds / seconds_of(call, 1)), 1)
    return TimedTurns(tuple(seconds_of(call, calls) / calls for _ in range(TURNS)), calls)


def seconds_of(call: Callable[[], Any], calls: int) -> float:
    """Returns the seconds of `calls` queued calls; only the last is awaited."""
    started = time.perf_counter()
    for _ in range(calls):
        results = call()
    jax.block_until_ready(results)
    return time.perf_counter() - started


@dataclasses.dataclass(frozen=True)
class StepThroughput:
    """Cost and speed of one step on one device."""

    images: int  # Per step and device.
    cost: StepCost
    compiler_flops: float | None  # Per step, as counted by the compiler.
    turns: TimedTurns | None  # None if it does not fit.

    @property
    def images_per_second(self) -> float | None:
        """Images per second of one device."""
        return self.images / self.turns.median if self.turns else None

    @property
    def argument_bytes(self) -> float:
        """Bytes of the arguments: parameters, optimizer state in training, the batch."""
        memory, others = self.cost.memory, ("activations", "results", "program")
        return sum(size for kind, size in memory.items() if kind not in others)

    @property
    def temporary_bytes(self) -> float | None:
        """Bytes of temporaries; None if compilation failed."""
        return self.cost.memory.get("activations")


@dataclasses.dataclass(frozen=True)
class ModelThroughput:
    """A model in a recipe, with its steps by name."""

    run: PlannedRun
    parameters: int
    steps: Mapping[str, StepThroughput]


def throughput(config: ConfigDict, step_names: tuple[str, ...] = STEPS) -> ModelThroughput:
    """Compiles and times the steps of a recipe on all devices of this machine.

    Args:
      config: the experiment; batch sizes are totals over all devices. Nothing is fetched.
      step_names: some of `STEPS`.

    Raises:
        UserError: the config cannot run on these devices.
    """
    devices = jax.devices()
    run = planned_run(config, None, devices[0].platform)
    mesh = make_mesh(run.settings.sharding.model_parallel, devices)
    check_batch_sizes(run.settings, mesh)
    programs = make_programs(run.task, run.settings, run.plan(), mesh)
    measured = {FORWARD: _forward, TRAINING: _training}
    steps = {name: measured[name](run, programs, mesh) for name in step_names}
    return ModelThroughput(run, count(programs.abstract_state.params), steps)


def _forward(run: PlannedRun, programs: Programs, mesh: Mesh) -> StepThroughput:
    """Measures the evaluation pass: value range, model, loss and accuracy."""
    params, shapes = programs.abstract_state.eval_params, run.eval_batch(mesh)

    def start(program) -> Callable[[], Any]:
        shardings = jax.tree.map(lambda leaf: leaf.sharding, params)
        values = jax.jit(run.task.init_params, out_shardings=shardings)(jax.random.key(0))
        batch = _made_batch(shapes, run.task.spec.num_classes)
        return lambda: program(values, batch)

    return _measured(programs.eval_step, (params, shapes), mesh, start)


def _training(run: PlannedRun, programs: Programs, mesh: Mesh) -> StepThroughput:
    """Measures the whole step: on-device augmentation, gradient, optimizer."""
    shapes = run.train_batch(mesh)

    def start(program) -> Callable[[], Any]:
        state = programs.create_random(jax.random.key(0))
        numbers = put_whole(programs.numbers, mesh)
        batch = _made_batch(shapes, run.task.spec.num_classes)

        def call():
            nonlocal state
            state, scalars = program(state, numbers, batch)  # Donates `state`.
            return scalars

        return call

    arguments = (programs.abstract_state, programs.numbers, shapes)
    return _measured(programs.train_step, arguments, mesh, start)


def _measured(
    step: Any,
    arguments: Sequence[Any],
    mesh: Mesh,
    start: Callable[[jax.stages.Compiled], Callable[[], Any]],
) -> StepThroughput:
    """Compiles a step, see `compile_program`, and times it; `start` creates its arguments."""
    images = arguments[-1]["image"].shape[0] // mesh.size
    limit = memory_limit(mesh.devices.flat[0])
    cost, program = compile_program(step, arguments, mesh.size, limit)
    if program is None:
        return StepThroughput(images, cost, None, None)
    flops = (program.cost_analysis() or {}).get("flops")
    if not cost.fits:
        return StepThroughput(images, cost, flops, None)
    try:
        return StepThroughput(images, cost, flops, timed_turns(start(program)))
    except jax.errors.JaxRuntimeError as error:
        if not is_want_of_memory(error):
            raise
        no_room = dataclasses.replace(cost, fits=False)
        return StepThroughput(images, no_room, flops, None)


def memory_limit(device: jax.Device) -> float:
    """Returns the bytes available to programs on a device; on a CPU, all of the machine's."""
    limit = (device.memory_stats() or {}).get("bytes_limit")
    return limit or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _made_batch(shapes: Examples, num_classes: int) -> dict[str, jax.Array]:
    """Generates random images and labels in place on the devices; every example counts."""

    def make(key: jax.Array) -> dict[str, jax.Array]:
        shape_of = {name: leaf.shape for name, leaf in shapes.items()}
        made = {
            "image": jax.random.bits(key, shape_of["image"], jnp.uint8),
            "label": jax.random.randint(key, shape_of["label"], 0, num_classes, jnp.int32),
        }
        return made | ({"mask": jnp.ones(shape_of["mask"])} if "mask" in shapes else {})

    shardings = {name: leaf.sharding for name, leaf in shapes.items()}
    return jax.jit(make, out_shardings=shardings)(jax.random.key(0))
