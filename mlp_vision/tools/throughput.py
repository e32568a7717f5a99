"""Images a second of models by name, on the devices that are here, beside the papers' figures.

The programs are those of a run: the pass of evaluation and the training step of a recipe from
configs/, with another model, image size or batch. The pictures are random and made on the devices,
so that neither disk nor host has a part in it.
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
TURN_SECONDS = 0.5  # A turn has as many calls as fit, and one at least.
FORWARD, TRAINING = "forward", "training"
STEPS = (FORWARD, TRAINING)


@dataclasses.dataclass(frozen=True)
class TimedTurns:
    """Seconds of one call in each turn."""

    seconds: tuple[float, ...]
    calls: int  # Of a turn.

    @property
    def median(self) -> float:
        """Over the turns."""
        return statistics.median(self.seconds)


def timed_turns(call: Callable[[], Any], turn_seconds: float = TURN_SECONDS) -> TimedTurns:
    """Times `call`, which starts work on the devices and returns arrays that it results in.

    Calls of a turn are queued one behind the other, as those of a run are; the last is waited for.
    """
    for _ in range(WARM_UP_CALLS):
        jax.block_until_ready(call())
    calls = max(int(turn_seconds / seconds_of(call, 1)), 1)
    return TimedTurns(tuple(seconds_of(call, calls) / calls for _ in range(TURNS)), calls)


def seconds_of(call: Callable[[], Any], calls: int) -> float:
    """Seconds of `calls` calls, queued one behind the other; the last is waited for."""
    started = time.perf_counter()
    for _ in range(calls):
        results = call()
    jax.block_until_ready(results)
    return time.perf_counter() - started


@dataclasses.dataclass(frozen=True)
class StepThroughput:
    """What one step costs one device, and how fast it is."""

    images: int  # Of a step and device.
    cost: StepCost
    compiler_flops: float | None  # Of a step, as the compiler counts them in its program.
    turns: TimedTurns | None  # None where it does not fit.

    @property
    def images_per_second(self) -> float | None:
        """Of one device."""
        return self.images / self.turns.median if self.turns else None

    @property
    def argument_bytes(self) -> float:
        """What the program is given: parameters, the optimizer's state in training, the batch."""
        memory, others = self.cost.memory, ("activations", "results", "program")
        return sum(size for kind, size in memory.items() if kind not in others)

    @property
    def temporary_bytes(self) -> float | None:
        """What it needs besides while it runs; None where the compiler gave up."""
        return self.cost.memory.get("activations")


@dataclasses.dataclass(frozen=True)
class ModelThroughput:
    """A model in a recipe, and its steps by name."""

    run: PlannedRun
    parameters: int
    steps: Mapping[str, StepThroughput]


def throughput(config: ConfigDict, step_names: tuple[str, ...] = STEPS) -> ModelThroughput:
    """Compiles and times the steps of a recipe on all devices of this machine.

    Args:
      config: the experiment; its batch sizes are over all devices. Nothing is fetched.
      step_names: some of `STEPS`.

    Raises:
        UserError: it cannot be a run on these devices.
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
    """The pass of evaluation: value range, model, loss and accuracy."""
    params, shapes = programs.abstract_state.eval_params, run.eval_batch(mesh)

    def start(program) -> Callable[[], Any]:
        shardings = jax.tree.map(lambda leaf: leaf.sharding, params)
        values = jax.jit(run.task.init_params, out_shardings=shardings)(jax.random.key(0))
        batch = _made_batch(shapes, run.task.spec.num_classes)
        return lambda: program(values, batch)

    return _measured(programs.eval_step, (params, shapes), mesh, start)


def _training(run: PlannedRun, programs: Programs, mesh: Mesh) -> StepThroughput:
    """The whole step: what of the augmentation is on the device, gradient, optimizer."""
    shapes = run.train_batch(mesh)

    def start(program) -> Callable[[], Any]:
        state = programs.create_random(jax.random.key(0))
        numbers = put_whole(programs.numbers, mesh)
        batch = _made_batch(shapes, run.task.spec.num_classes)

        def call():
            nonlocal state
            state, scalars = program(
                state, numbers, batch
            )  # The state that it is given is used up.
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
    """Compiles a step, see `compile_program`; `start` makes a call of it on values of its own."""
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
    """Bytes that programs may have on a device; on a CPU all that the machine has."""
    limit = (device.memory_stats() or {}).get("bytes_limit")
    return limit or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _made_batch(shapes: Examples, num_classes: int) -> dict[str, jax.Array]:
    """Random pictures and labels, made where they are to lie; every example counts."""

    def make(key: jax.Array) -> dict[str, jax.Array]:
        shape_of = {name: leaf.shape for name, leaf in shapes.items()}
        made = {
            "image": jax.random.bits(key, shape_of["image"], jnp.uint8),
            "label": jax.random.randint(key, shape_of["label"], 0, num_classes, jnp.int32),
        }
        return made | ({"mask": jnp.ones(shape_of["mask"])} if "mask" in shapes else {})

    shardings = {name: leaf.sharding for name, leaf in shapes.items()}
    return jax.jit(make, out_shardings=shardings)(jax.random.key(0))
