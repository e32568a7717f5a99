"""The training loop: evaluate, save, next batch, step, log the previous step.

The device never waits for the host to read a metric: the scalars of a step are fetched only
after the next one has been dispatched. The data position is the step, which changes only after
a checkpoint is taken, so nothing else needs saving.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import jax
from jax.sharding import Mesh

from mlp_core.checkpoints.save import Checkpoints
from mlp_core.checkpoints.train_state import TrainState
from mlp_core.config import RunConfig
from mlp_core.data.pipeline import train_batches
from mlp_core.distributed import hosts
from mlp_core.distributed.agreement import check_same_digest, wait_for_all
from mlp_core.distributed.mesh import (
    check_batch_size,
    make_mesh,
    put_batch,
    put_whole,
    rows_of_this_host,
)
from mlp_core.errors import Preempted, UserError
from mlp_core.nn.parameters import digest, parameter_summary, parameter_table
from mlp_core.nn.stack import in_layout_of
from mlp_core.process.console import say
from mlp_core.process.files import full_disk_told, write_whole
from mlp_core.process.memory import keep_freed_blocks
from mlp_core.process.preemption import SaveRequest
from mlp_core.process.watchdog import limited, waits_for
from mlp_core.run_folder.run_directory import RunFiles
from mlp_core.train.durations import Plan
from mlp_core.train.evaluation import evaluate_splits
from mlp_core.train.log import CompiledAtFirst, RunLog, StepTrace
from mlp_core.train.programs import Programs, make_programs
from mlp_core.train.task import Task


def check_batch_sizes(config: RunConfig, mesh: Mesh | None = None) -> None:
    """Checks that batches split evenly over devices and micro-batches.

    Uses the devices of `mesh`, by default all available devices.

    Raises:
        UserError: names the field and the nearest size that fits.
    """
    mesh, train = mesh or make_mesh(config.sharding.model_parallel), config.train
    field = "global_batch_size"
    check_batch_size(f"config.train.{field}", train.global_batch_size, mesh, train.grad_accum_steps)
    check_batch_size(f"config.evaluation.{field}", config.evaluation.global_batch_size, mesh)


def train(task: Task, config: RunConfig, workdir: Path, profile: bool = False) -> dict[str, float]:
    """Trains `task` in `workdir`, resuming from the newest checkpoint there.

    With `profile`, a trace of a few steps is written next to the TensorBoard events.

    Returns the last evaluation's metrics by name, such as `test/top1`.

    Raises:
        UserError: the configuration does not fit the data or the files in `workdir`, data cannot
          be read, or the disk is full.
        NonFiniteLossError: the loss or the gradient was not finite.
        Preempted: SIGTERM or SIGHUP was received; the state is saved.
    """
    mesh, files = make_mesh(config.sharding.model_parallel), RunFiles.of(workdir)
    plan = Plan.of(config, len(task.train_source))
    programs = make_programs(task, config, plan, mesh)
    best_metric = config.evaluation.best_metric
    with (
        limited(60 * config.train.stall_limit, files.stalled),
        SaveRequest(hosts.store()) as save_request,
        closing(Checkpoints(files.checkpoints, config.checkpoint, best_metric)) as checkpoints,
    ):
        waits_for("the state to start from")
        state = initial_state(task, config.seed, programs, checkpoints)
        if int(state.step) > plan.total:
            raise UserError(
                f"{workdir}: this run has done {int(state.step):,} steps, and "
                f"config.train.duration is {plan.total:,} steps of the data as they are now; "
                "restore the data, or name another --workdir."
            )
        _announce(state, config, plan, len(task.train_source), files)
        if checkpoints.latest_step == plan.total:
            say(f"Nothing is left to do: all {plan.total:,} steps are done. Evaluates once more.")
            return evaluate_splits(
                CompiledAtFirst(programs.eval_step, "the evaluation step"),
                state.eval_params,
                task.eval_sources,
                config.evaluation.global_batch_size,
                mesh,
            )
        traced = files.tensorboard if profile else None
        with (
            _last_good_told(checkpoints),
            full_disk_told(workdir),
            closing(StepTrace(traced, int(state.step), plan.total)) as trace,
        ):
            results = _loop(
                task, config, plan, programs, state, checkpoints, files, save_request, trace
            )
            checkpoints.wait()
        best = checkpoints.best_step()
        if best is not None:
            say(f"Best checkpoint by {best_metric}: {checkpoints.path(best)}")
        return results


@contextmanager
def _last_good_told(checkpoints: Checkpoints) -> Iterator[None]:
    """Adds the last good checkpoint to the error that ends a run."""
    try:
        yield
    except UserError as error:
        step = checkpoints.latest_step
        last_good = "none was saved" if step is None else f"it is {checkpoints.path(step)}"
        error.args = (f"{error} As for the last good checkpoint, {last_good}.",)
        raise


def _loop(
    task: Task,
    config: RunConfig,
    plan: Plan,
    programs: Programs,
    state: TrainState,
    checkpoints: Checkpoints,
    files: RunFiles,
    save_request: SaveRequest,
    trace: StepTrace,
) -> dict[str, float]:
    """Trains `state` to the end of the plan and returns the last evaluation."""
    mesh, first_step = programs.mesh, int(state.step)
    batch_size = config.train.global_batch_size
    batches = train_batches(
        task.train_source,
        batch_size,
        config.seed,
        first_step,
        plan.total,
        config.data.num_workers,
        rows_of_this_host(batch_size, mesh),
    )
    eval_step = CompiledAtFirst(programs.eval_step, "the evaluation step")
    results: dict[str, float] = {}
    log = RunLog(files, plan, batch_size, first_step, checkpoints.unreported(first_step))
    with closing(batches), closing(log):
        with log.stopwatch.pause():
            waits_for("the first batch")
            batch = put_batch(next(batches), mesh)
            numbers = put_whole(programs.numbers, mesh)
            waits_for("the compilation of the training step")
            train_step = CompiledAtFirst(programs.train_step, "the training step").compile(
                state, numbers, batch
            )
            if jax.default_backend() == "cpu":
                keep_freed_blocks(train_step.memory_analysis().temp_size_in_bytes)
            # Some backends wait at most 30 s for another host to start.
            wait_for_all("compilation of the training step")
        for step in range(first_step, plan.total + 1):
            is_new = step > first_step or step == 0  # Otherwise done before the checkpoint.
            evaluated = None
            if is_new and (step == 0 or plan.is_due(step, plan.evaluate_every)):
                log.flush()
                with log.stopwatch.evaluating(eval_step):
                    evaluated = results = evaluate_splits(
                        eval_step,
                        state.eval_params,
                        task.eval_sources,
                        config.evaluation.global_batch_size,
                        mesh,
                    )
                    log.write_evaluation(step, results)
            is_best = evaluated is not None and checkpoints.would_be_best(evaluated)
            ends_early = save_request.has_come(step)
            is_due = is_best or ends_early or plan.is_due(step, plan.save_every)
            if step > first_step and is_due:
                log.flush()  # Raises if the state is not finite, so that it is not saved.
                with log.stopwatch.pause():
                    checkpoints.save(step, state, evaluated, log.unreported)
            if step == plan.total:
                break
            if ends_early:
                raise Preempted(_what_is_saved(step, first_step))
            checkpoints.check()
            if step > first_step:
                waits_for(f"data of step {step + 1:,}")
                with log.stopwatch.waiting():
                    batch = put_batch(next(batches), mesh)
            waits_for(f"step {step + 1:,}")
            with trace.step(step):
                state, scalars = train_step(state, numbers, batch)
            trace.after(step, state)
            log.add(step + 1, scalars)
    return results


def _what_is_saved(step: int, first_step: int) -> str:
    """Returns the message of a run that ends early."""
    saved = f"step {step:,} is saved" if step > first_step else "nothing new is to be saved"
    return f"{saved}; the same command goes on"


def _announce(
    state: TrainState, config: RunConfig, plan: Plan, num_examples: int, files: RunFiles
) -> None:
    """Prints devices, batches, length and parameters; writes the full parameter table to a file."""
    devices, batch = jax.devices(), config.train.global_batch_size
    per_device = batch // (len(devices) // config.sharding.model_parallel)
    say(
        f"Devices: {len(devices)} x {devices[0].device_kind} ({devices[0].platform}) "
        f"{[device.id for device in devices]} on {jax.process_count()} host(s)"
    )
    if len(devices) > 1:
        say(
            f"Sharding: {config.sharding.layout}; {config.sharding.model_parallel} device(s) share "
            "a model"
        )
    say(
        f"Batch: {batch} global, {per_device} per device, "
        f"{per_device // config.train.grad_accum_steps} per device and micro-batch"
    )
    say(
        f"Length: {plan.total:,} steps, {plan.total * batch / num_examples:.1f} epochs of "
        f"{num_examples:,} examples"
    )
    if jax.process_index() == 0:
        write_whole(files.parameters, parameter_table(state.params) + "\n")
    say(f"Parameters (each one in {files.parameters}):\n{parameter_summary(state.params)}")


def initial_state(
    task: Task, seed: int, programs: Programs, checkpoints: Checkpoints
) -> TrainState:
    """Returns the state to start or resume from, on the devices; prints in one line which it is.

    Raises:
        UserError: all checkpoints are damaged, or the state or weight file does not fit the model.
    """
    state = checkpoints.load_newest(programs.abstract_state)
    if state is not None:
        return state
    published = task.published_params()
    if published is not None:
        check_same_digest("config.init.weights", lambda: digest(published))
        params = in_layout_of(programs.abstract_state.params, published)
        return programs.create(params)
    say(f"Start: random parameters, seed {seed}")
    return programs.create_random(jax.random.key(seed))
