"""Learning rates of some parameters multiplied by a factor; with factor 0 they are frozen."""

import re
from collections.abc import Sequence

import jax
import optax

from mlp_core.config import OptimizerConfig, RateFactor
from mlp_core.nn.name_patterns import check_matches
from mlp_core.nn.parameters import parameter_names
from mlp_core.train.task import Params

TRAINED, FROZEN = "trained", "frozen"


def scale_by_rate_factors(rate_factors: Sequence[RateFactor]) -> optax.GradientTransformation:
    """Multiplies each update by the factor of its parameter."""

    def scale(updates: optax.Updates, _params: optax.Params) -> optax.Updates:
        return jax.tree.map(
            lambda update, factor: update * factor, updates, _factors(rate_factors, updates)
        )

    return optax.stateless(scale)


def leave_frozen(
    optimizer: optax.GradientTransformation, rate_factors: Sequence[RateFactor]
) -> optax.GradientTransformation:
    """`optimizer` on the trained parameters alone: it keeps no state for those that are frozen."""

    def labels(params: optax.Params) -> optax.Params:
        return jax.tree.map(
            lambda factor: TRAINED if factor > 0 else FROZEN, _factors(rate_factors, params)
        )

    return optax.partition({TRAINED: optimizer, FROZEN: optax.set_to_zero()}, labels)


def stop_frozen_gradients(rate_factors: Sequence[RateFactor], params: Params) -> Params:
    """`params`, of which those that are frozen have the gradient zero, so that it costs nothing."""
    return jax.tree.map(
        lambda leaf, factor: leaf if factor > 0 else jax.lax.stop_gradient(leaf),
        params,
        _factors(rate_factors, params),
    )


def check_rate_factors(config: OptimizerConfig, params: Params) -> None:
    """Refuses an entry of `rate_factors` that matches no parameter, or as `check_matches` tells.

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
    """A tree like `params` of factors: that of the first entry that matches the name, or 1."""

    def factor(name: str) -> float:
        matching = (rate.factor for rate in rate_factors if re.fullmatch(rate.pattern, name))
        return next(matching, 1.0)

    return jax.tree.map(factor, parameter_names(params))
