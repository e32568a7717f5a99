"""The jitted training step."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mlp_core.checkpoints.train_state import TrainState
from mlp_core.config import RateFactor
from mlp_core.train.optimizer import stop_frozen_gradients
from mlp_core.train.task import Batch, Task

Scalars = dict[str, jax.Array]


def make_train_step(
    task: Task,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    *,
    key: jax.Array,
    grad_accum_steps: int,
    ema_decay: float | jax.Array,
    rate_factors: Sequence[RateFactor] = (),
) -> Callable[[TrainState, Batch], tuple[TrainState, Scalars]]:
    """Builds `train_step(state, batch) -> (state, scalars)`, pure, to be jitted by the caller.

    All randomness is derived from the random `key` and the step number. With `grad_accum_steps` k,
    the whole batch is augmented at once, and its gradient is the mean over k micro-batches of equal
    size: that of the whole batch, unless dropout or stochastic depth draws other masks for each.
    Parameters frozen by `rate_factors` have gradient zero. If the state has an average of the
    parameters, update number t, from 0, has the decay min(`ema_decay`, (1 + t) / (10 + t)).
    """

    def loss(params, batch: Batch, rng: jax.Array) -> tuple[jax.Array, dict]:
        return task.loss(stop_frozen_gradients(rate_factors, params), batch, rng)

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Scalars]:
        augment_rng, model_rng = step_rngs(key, state.step)
        with jax.named_scope("augmentation"):
            batch = task.augment(batch, augment_rng)
        scalars, grads = _mean_gradient(loss, state.params, batch, model_rng, grad_accum_steps)
        with jax.named_scope("optimizer"):
            updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
            params = optax.apply_updates(state.params, updates)
        ema_params = state.ema_params
        if ema_params is not None:
            with jax.named_scope("average"):
                ema_params = _updated_average(ema_params, params, ema_decay, state.step)
        with jax.named_scope("logged_norms"):
            # Uses the parameters, so that `updates` need not be written to memory and reread.
            change = jax.tree.map(jnp.subtract, params, state.params)
            norms = {"grad_norm": optax.tree.norm(grads), "update_norm": optax.tree.norm(change)}
        learning_rate = jnp.asarray(schedule(state.step), jnp.float32)
        scalars = scalars | norms | {"learning_rate": learning_rate}
        return TrainState(state.step + 1, params, opt_state, ema_params), scalars

    return train_step


def _updated_average(average, params, ema_decay: float | jax.Array, step: jax.Array):
    """Returns the average after update number `step`, which produced `params`.

    The decay min(ema_decay, (1 + step) / (10 + step)) of TensorFlow's `ExponentialMovingAverage`
    makes an early average cover about a tenth of the updates so far, rather than the initial
    parameters.
    """
    share = jnp.maximum(1 - ema_decay, 9 / (10 + step))  # 1 - decay.
    # In this form, the average of a frozen parameter stays exactly equal to the parameter.
    return jax.tree.map(lambda old, new: old + share * (new - old), average, params)


def step_rngs(key: jax.Array, step: jax.Array | int) -> tuple[jax.Array, jax.Array]:
    """Returns the random keys of a step: one for augmentation and one for the model.

    `key` is made from the run's seed.
    """
    augment_rng, model_rng = jax.random.split(jax.random.fold_in(key, step))
    return augment_rng, model_rng


def _mean_gradient(
    loss: Callable, params, batch: Batch, rng: jax.Array, grad_accum_steps: int
) -> tuple[Scalars, Any]:
    """Returns scalars (loss first) and gradient over the batch, in one or more micro-batches."""

    def of_micro_batch(micro_batch: Batch, rng: jax.Array):
        (value, scalars), grads = jax.value_and_grad(loss, has_aux=True)(params, micro_batch, rng)
        return {"loss": value} | scalars, grads

    if grad_accum_steps == 1:
        return of_micro_batch(batch, rng)

    def add_micro_batch(total, inputs):
        return jax.tree.map(jnp.add, total, of_micro_batch(*inputs)), None

    micro_batches = jax.tree.map(lambda rows: _split(rows, grad_accum_steps), batch)
    rngs = jax.random.split(rng, grad_accum_steps)
    first = jax.tree.map(lambda rows: rows[0], (micro_batches, rngs))
    zeros = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(of_micro_batch, *first)
    )
    total, _ = jax.lax.scan(add_micro_batch, zeros, (micro_batches, rngs))
    return jax.tree.map(lambda leaf: leaf / grad_accum_steps, total)


def _split(rows: jax.Array, parts: int) -> jax.Array:
    """Reshapes [B, ...] to [parts, B / parts, ...]; each part has rows from all devices."""
    return rows.reshape(-1, parts, *rows.shape[1:]).swapaxes(0, 1)
