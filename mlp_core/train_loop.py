"""The training loop: evaluate, save, next batch, step, log the step before.

The device never waits for the host to read a metric: the scalars of a step are fetched only
after the next one has been dispatched. The data position is the step, so it changes only after
a checkpoint is taken and there is nothing else to save.
"""

import contextlib
import dataclasses
import time
from pathlib import Path

import jax
from jax.sharding import Mesh

from mlp_core.checkpoint import Checkpoints
from mlp_core.config import RunConfig
from mlp_core.console import say
from mlp_core.errors import NonFiniteLossError
from mlp_core.evaluation import evaluate
from mlp_core.input_pipeline import train_batches
from mlp_core.mesh import check_batch_size, make_mesh, put_batch, replicated
from mlp_core.metric_writer import MetricWriter, read_metrics
from mlp_core.optimizer import check_weight_decay, make_optimizer, make_schedule
from mlp_core.parameter_table import parameter_summary, parameter_table
from mlp_core.task import Task
from mlp_core.train_log import TrainLog
from mlp_core.train_step import TrainState, make_train_step


@dataclasses.dataclass(frozen=True)
class Plan:
    """A run's durations, in steps."""

    total: int
    warmup: int
    evaluate_every: int
    save_every: int
    report_every: int

    @classmethod
    def of(cls, config: RunConfig, num_examples: int) -> "Plan":
        """Converts the durations of `config` for a training set of `num_examples`."""

        def steps(duration):
            return duration.steps(num_examples, config.train.global_batch_size)

        return cls(
            total=steps(config.train.duration),
            warmup=steps(config.schedule.warmup),
            evaluate_every=steps(config.evaluation.every),
            save_every=steps(config.checkpoint.every),
            report_every=steps(config.log.every),
        )

    def is_due(self, step: int, every: int) -> bool:
        """Whether what happens every so many steps, and at the end, happens at `step`."""
        return step == self.total or (every > 0 and step % every == 0)


@dataclasses.dataclass(frozen=True)
class RunFiles:
    """What a run leaves behind in its folder."""

    checkpoints: Path
    metrics: Path
    tensorboard: Path

    @classmethod
    def of(cls, workdir: Path) -> "RunFiles":
        """The places, whether or not they exist yet."""
        return cls(workdir / "checkpoints", workdir / "metrics.jsonl", workdir / "tensorboard")


def check_batch_sizes(config: RunConfig) -> None:
    """Refuses batches that do not split evenly over devices and micro-batches.

    Raises:
        UserError: names the field and the nearest size that fits.
    """
    mesh, train = make_mesh(), config.train
    field = "global_batch_size"
    check_batch_size(f"config.train.{field}", train.global_batch_size, mesh, train.grad_accum_steps)
    check_batch_size(f"config.evaluation.{field}", config.evaluation.global_batch_size, mesh)


def train(task: Task, config: RunConfig, workdir: Path) -> dict[str, float]:
    """Trains `task` in `workdir`, going on from the newest checkpoint there.

    Returns the last evaluation's metrics by name, such as `test/top1`.

    Raises:
        UserError: the configuration does not fit the model or what lies in `workdir`.
        NonFiniteLossError: the loss or the gradient was not finite.
    """
    mesh, plan, files = make_mesh(), Plan.of(config, len(task.train_source)), RunFiles.of(workdir)
    schedule = make_schedule(config.schedule, plan.total, plan.warmup)
    optimizer = make_optimizer(config.optimizer, schedule)
    checkpoints = Checkpoints(files.checkpoints, config.checkpoint, config.evaluation.best_metric)
    try:
        state = _initial_state(task, config, optimizer, checkpoints, mesh)
        _announce(state, config, plan, len(task.train_source), workdir)
        if checkpoints.latest_step == plan.total:
            say(f"Nothing is left to do: all {plan.total:,} steps are done.")
            evaluated = tuple(f"{split}/" for split in task.eval_sources)
            latest = _latest(files.metrics)
            return {name: value for name, value in latest.items() if name.startswith(evaluated)}
        train_step = make_train_step(
            task,
            optimizer,
            schedule,
            seed=config.seed,
            grad_accum_steps=config.train.grad_accum_steps,
            ema_decay=config.train.ema_decay,
        )
        return _loop(task, config, plan, mesh, train_step, state, checkpoints, files)
    except NonFiniteLossError as error:
        step = checkpoints.latest_step
        last_good = "none was saved" if step is None else f"it is {checkpoints.path(step)}"
        raise NonFiniteLossError(f"{error} As for the last good checkpoint, {last_good}.") from None
    finally:
        checkpoints.close()


def _loop(
    task: Task,
    config: RunConfig,
    plan: Plan,
    mesh: Mesh,
    train_step,
    state: TrainState,
    checkpoints: Checkpoints,
    files: RunFiles,
) -> dict[str, float]:
    whole = replicated(mesh)
    first_step = int(state.step)
    batch_size = config.train.global_batch_size
    batches = train_batches(task.train_source, batch_size, config.seed, first_step, plan.total)
    batch = put_batch(next(batches), mesh)
    started = time.perf_counter()
    train_step = jax.jit(train_step, donate_argnums=0, out_shardings=(whole, whole))
    train_step = train_step.lower(state, batch).compile()
    eval_step = jax.jit(task.evaluate, out_shardings=whole)
    say(f"Compiled the training step in {time.perf_counter() - started:.1f} s")

    def evaluate_all(step: int, state: TrainState) -> dict[str, float]:
        metrics = {
            f"{split}/{name}": value
            for split, source in task.eval_sources.items()
            for name, value in evaluate(
                eval_step, state.eval_params, source, config.evaluation.global_batch_size, mesh
            ).items()
        }
        say(f"step {step:,}: " + "  ".join(f"{k} {v:.4f}" for k, v in metrics.items()))
        return metrics

    results: dict[str, float] = {}
    with (
        contextlib.closing(MetricWriter(files.metrics, files.tensorboard, first_step)) as writer,
        contextlib.closing(
            TrainLog(
                writer,
                global_batch_size=batch_size,
                first_step=first_step,
                total_steps=plan.total,
                report_every=plan.report_every,
                device_days=_latest(files.metrics).get("train/device_days", 0.0),
            )
        ) as log,
    ):
        for step in range(first_step, plan.total + 1):
            is_new = step > first_step or step == 0  # Else done before the checkpoint was taken.
            evaluated = None
            if is_new and (step == 0 or plan.is_due(step, plan.evaluate_every)):
                log.flush()
                with log.stopwatch.pause():
                    evaluated = results = evaluate_all(step, state)
                    writer.write(step, results)
            if step > first_step and plan.is_due(step, plan.save_every):
                log.flush()  # Only a state whose making was sound is saved.
                with log.stopwatch.pause():
                    checkpoints.save(step, state, evaluated)
            if step == plan.total:
                break
            if step > first_step:
                with log.stopwatch.waiting():
                    batch = put_batch(next(batches), mesh)
            state, scalars = train_step(state, batch)
            log.add(step + 1, scalars)
    return results


def _initial_state(
    task: Task, config: RunConfig, optimizer, checkpoints: Checkpoints, mesh: Mesh
) -> TrainState:
    """The run's own checkpoint, else published weights, else random; says which in one line."""
    whole = replicated(mesh)
    keeps_ema = config.train.ema_decay > 0

    def create(params):
        return TrainState.create(params, optimizer, keeps_ema)

    def create_random(rng):
        return create(task.init_params(rng))

    rng = jax.random.key(config.seed)
    abstract = jax.eval_shape(create_random, rng)
    check_weight_decay(config.optimizer, abstract.params)
    step = checkpoints.latest_step
    if step is not None:
        say(f"Start: goes on from step {step:,}, {checkpoints.path(step)}")
        placed = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=whole), abstract
        )
        return checkpoints.load(step, placed)
    published = task.published_params()
    if published is not None:
        return jax.jit(create, out_shardings=whole)(published)
    say(f"Start: random parameters, seed {config.seed}")
    return jax.jit(create_random, out_shardings=whole)(rng)


def _announce(
    state: TrainState, config: RunConfig, plan: Plan, num_examples: int, workdir: Path
) -> None:
    """Prints devices, batches, length and parameters; the whole parameter table goes to a file."""
    devices, batch = jax.devices(), config.train.global_batch_size
    per_device = batch // len(devices)
    say(
        f"Devices: {len(devices)} x {devices[0].device_kind} ({devices[0].platform}) "
        f"{[device.id for device in devices]} on {jax.process_count()} host(s)"
    )
    say(
        f"Batch: {batch} global, {per_device} per device, "
        f"{per_device // config.train.grad_accum_steps} per device and micro-batch"
    )
    say(
        f"Length: {plan.total:,} steps, {plan.total * batch / num_examples:.1f} epochs of "
        f"{num_examples:,} examples"
    )
    table = workdir / "parameters.txt"
    if jax.process_index() == 0:
        table.write_text(parameter_table(state.params) + "\n")
    say(f"Parameters (each one in {table}):\n{parameter_summary(state.params)}")


def _latest(metrics_file: Path) -> dict[str, float]:
    """The last value written of every metric."""
    return {name: value for record in read_metrics(metrics_file) for name, value in record.items()}
