"""Learning-rate schedules, update rules and learning-rate multipliers, built from optax."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
import optax

from mlp_core.config import OptimizerConfig, RateFactor, RunConfig, ScheduleConfig
from mlp_core.errors import UserError
from mlp_core.nn.name_patterns import check_matches
from mlp_core.nn.parameters import parameter_names
from mlp_core.train.task import Params

Number = float | np.ndarray | jax.Array
TRAINED, FROZEN = "trained", "frozen"


class StepNumbers(NamedTuple):
    """Numbers passed to the compiled program, so that runs that differ only in them share it.

    Whether a decay is zero is part of the program.
    """

    key: np.ndarray | jax.Array  # Data of the random key made from the run's seed.
    peak_learning_rate: Number
    final_learning_rate: Number
    weight_decay: Number
    ema_decay: Number

    @classmethod
    def of(cls, config: RunConfig) -> "StepNumbers":
        """Returns the numbers of a run, on the host."""
        return cls(
            np.asarray(jax.random.key_data(jax.random.key(config.seed))),
            *np.float32(
                [
                    config.schedule.peak_learning_rate,
                    config.schedule.final_learning_rate,
                    config.optimizer.weight_decay,
                    config.train.ema_decay,
                ]
            ),
        )


def check_schedule(config: ScheduleConfig, total_steps: int, warmup_steps: int) -> None:
    """Checks that a schedule fits a run of `total_steps`.

    Raises:
        UserError: the warm-up is longer than the run, or `decay_at` is invalid for "steps".
    """
    if warmup_steps > total_steps:
        raise UserError(
            f"config.schedule.warmup: {warmup_steps} steps of warm-up do not fit into a run of "
            f"{total_steps} steps; shorten it or lengthen config.train.duration."
        )
    if config.name == "steps" and not config.decay_at:
        raise UserError(
            "config.schedule.decay_at: config.schedule.name=steps needs shares of the run, such as "
            "(0.3, 0.6, 0.9)."
        )
    if config.name != "steps" and config.decay_at:
        raise UserError(
            f"config.schedule.decay_at: config.schedule.name={config.name} has no use for "
            f"{config.decay_at}; set it to ()."
        )


def make_schedule(
    config: ScheduleConfig, total_steps: int, warmup_steps: int, peak: Number, final: Number
) -> optax.Schedule:
    """Returns the learning rate by step: linear warm-up from zero to `peak`, decay to `final`.

    As in the published code, the rate of step 0 is zero if there is a warm-up. With "steps", it is
    divided by ten at each of the fractions `decay_at` of the whole run. The rates may be traced.
    """
    decay_steps = max(total_steps - warmup_steps, 1)
    decay = {
        "cosine": lambda: optax.cosine_decay_schedule(peak, decay_steps, alpha=final / peak),
        "linear": lambda: optax.linear_schedule(peak, final, decay_steps),
        "constant": lambda: optax.constant_schedule(peak),
        "steps": lambda: _in_steps(peak, config.decay_at, total_steps, warmup_steps),
    }[config.name]()
    if warmup_steps == 0:
        return decay
    return optax.join_schedules(
        [optax.linear_schedule(0.0, peak, warmup_steps), decay], [warmup_steps]
    )


def _in_steps(
    peak: Number, decay_at: Sequence[float], total_steps: int, warmup_steps: int
) -> optax.Schedule:
    """Divides by ten at each of the fractions of the run; steps count from the warm-up's end."""
    falls = np.array([round(share * total_steps) for share in decay_at])
    return lambda step: peak * 0.1 ** (step + warmup_steps > falls).sum()


def make_optimizer(
    config: OptimizerConfig, schedule: optax.Schedule, weight_decay: Number
) -> optax.GradientTransformation:
    """Clip by global norm, then SGD with momentum or Adam, decoupled weight decay, learning rate.

    Weight decay applies to the parameters whose full name matches `weight_decay_pattern`, and is
    multiplied by the learning rate, as in the paper and in `optax.adamw`. It is `weight_decay`,
    which may be traced, if the config's value is nonzero. Parameters frozen by `rate_factors` have
    no state and are excluded from the norm.
    """

    def decays(params):
        return jax.tree.map(
            lambda name: re.fullmatch(config.weight_decay_pattern, name) is not None,
            parameter_names(params),
        )

    if config.name == "sgd":
        core = optax.trace(config.momentum, accumulator_dtype=config.momentum_dtype)
    else:
        core = optax.scale_by_adam(config.beta1, config.beta2, config.epsilon)
    parts = [core]
    if config.clip_global_norm > 0:
        parts.insert(0, optax.clip_by_global_norm(config.clip_global_norm))
    if config.weight_decay > 0:
        parts.append(optax.add_decayed_weights(weight_decay, mask=decays))
    learning_rate = optax.scale_by_learning_rate(schedule)
    if not config.rate_factors:
        return optax.chain(*parts, learning_rate)
    factors = scale_by_rate_factors(config.rate_factors)
    return leave_frozen(optax.chain(*parts, factors, learning_rate), config.rate_factors)


def check_weight_decay(config: OptimizerConfig, params) -> None:
    """Checks that the weight-decay pattern is a regular expression and passes `check_matches`."""
    field = "config.optimizer.weight_decay_pattern"
    try:
        re.compile(config.weight_decay_pattern)
    except re.error as error:
        raise UserError(
            f"{field}: {config.weight_decay_pattern!r} is no regular expression ({error})."
        ) from error
    if config.weight_decay > 0:
        check_matches(
            f"{field}: {config.weight_decay_pattern!r}", config.weight_decay_pattern, params
        )


def scale_by_rate_factors(rate_factors: Sequence[RateFactor]) -> optax.GradientTransformation:
    """Multiplies each update by the learning-rate multiplier of its parameter."""

    def scale(updates: optax.Updates, _params: optax.Params) -> optax.Updates:
        return jax.tree.map(
            lambda update, factor: update * factor, updates, _factors(rate_factors, updates)
        )

    return optax.stateless(scale)


def leave_frozen(
    optimizer: optax.GradientTransformation, rate_factors: Sequence[RateFactor]
) -> optax.GradientTransformation:
    """Applies `optimizer` to the trained parameters only: frozen ones have no optimizer state."""

    def labels(params: optax.Params) -> optax.Params:
        return jax.tree.map(
            lambda factor: TRAINED if factor > 0 else FROZEN, _factors(rate_factors, params)
        )

    return optax.partition({TRAINED: optimizer, FROZEN: optax.set_to_zero()}, labels)


def stop_frozen_gradients(rate_factors: Sequence[RateFactor], params: Params) -> Params:
    """Returns `params` with a zero gradient for frozen ones, which then costs no computation."""
    return jax.tree.map(
        lambda leaf, factor: leaf if factor > 0 else jax.lax.stop_gradient(leaf),
        params,
        _factors(rate_factors, params),
    )


def check_rate_factors(config: OptimizerConfig, params: Params) -> None:
    """Checks that each entry of `rate_factors` matches a parameter and passes `check_matches`.

    Raises:
        UserError: names the entry.
    """
    for rate in config.rate_factors:
        entry = (
            f"config.optimizer.rate_factors: {rate.pattern!r}, for {rate.factor:g} times the "
            "learning rate,"
        )
        check_matches(entry, rate.pattern, params)


def _factors(rate_factors: Sequence[RateFactor], params: Params) -> Params:
    """Returns a tree like `params` of multipliers: of the first entry matching the name, or 1."""

    def factor(name: str) -> float:
        matching = (rate.factor for rate in rate_factors if re.fullmatch(rate.pattern, name))
        return next(matching, 1.0)

    return jax.tree.map(factor, parameter_names(params))
