import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mlp_core.config import Duration, OptimizerConfig, ScheduleConfig
from mlp_core.errors import UserError
from mlp_core.train.optimizer import (
    check_schedule,
    check_weight_decay,
    make_optimizer,
    make_schedule,
)

PARAMS = {"Dense_0": {"kernel": jnp.array([1.0, -2.0]), "bias": jnp.array([3.0])}}
GRADS = {"Dense_0": {"kernel": jnp.array([0.3, 0.1]), "bias": jnp.array([-0.2])}}


def schedule(name, total=10, warmup=4, **fields):
    config = ScheduleConfig(
        name=name,
        peak_learning_rate=2.0,
        final_learning_rate=fields.get("final_learning_rate", 0.0),
        warmup=Duration(amount=warmup, unit="steps"),
        decay_at=fields.get("decay_at", ()),
    )
    check_schedule(config, total, warmup)
    rates = config.peak_learning_rate, config.final_learning_rate
    return make_schedule(config, total, warmup, *rates)


@pytest.mark.parametrize(
    "name, expected",
    [
        ("cosine", {0: 0, 2: 1, 4: 2, 7: 1, 10: 0}),
        ("linear", {0: 0, 2: 1, 4: 2, 7: 1, 10: 0}),
        ("constant", {0: 0, 2: 1, 4: 2, 7: 2, 10: 2}),
    ],
)
def test_schedules_warm_up_from_zero_and_decay_to_the_end(name, expected):
    rate = schedule(name)
    for step, value in expected.items():
        assert float(rate(step)) == pytest.approx(value, abs=1e-6), step


def test_cosine_follows_the_cosine():
    assert float(schedule("cosine")(5)) == pytest.approx(1 + np.cos(np.pi / 6))


def test_decay_ends_at_the_final_rate():
    assert float(schedule("cosine", final_learning_rate=0.5)(10)) == pytest.approx(0.5)
    assert float(schedule("linear", final_learning_rate=0.5)(10)) == pytest.approx(0.5)


def test_steps_are_a_tenth_each_at_their_shares_of_the_whole_run():
    rate = schedule("steps", total=20, decay_at=(0.3, 0.6, 0.9))
    expected = {0: 0, 2: 1, 4: 2, 6: 2, 7: 0.2, 12: 0.2, 13: 0.02, 18: 0.02, 19: 0.002, 20: 0.002}
    for step, value in expected.items():
        assert float(rate(step)) == pytest.approx(value), step


@pytest.mark.parametrize("name, shares", [("steps", ()), ("cosine", (0.5,))])
def test_steps_without_shares_and_shares_without_steps_are_refused(name, shares):
    with pytest.raises(UserError, match=f"decay_at: config.schedule.name={name} "):
        schedule(name, total=20, decay_at=shares)


def test_without_warm_up_the_first_rate_is_the_peak():
    assert float(schedule("cosine", warmup=0)(0)) == 2.0


def test_warm_up_longer_than_the_run_is_refused():
    with pytest.raises(UserError, match="config.schedule.warmup: 20 steps .* 10 steps"):
        schedule("cosine", total=10, warmup=20)


def settings(**fields):
    defaults = dict(
        name="sgd", momentum=0.9, momentum_dtype="float32", beta1=0.9, beta2=0.999, epsilon=1e-8,
        weight_decay=0.0, weight_decay_pattern=".*/kernel", rate_factors=(), clip_global_norm=0.0,
    )  # fmt: skip
    return OptimizerConfig(**(defaults | fields))


def updates(steps=2, **fields):
    """Parameters after some steps with the same gradient at learning rate 0.1."""
    config = settings(**fields)
    optimizer = make_optimizer(config, optax.constant_schedule(0.1), config.weight_decay)
    params, state = PARAMS, optimizer.init(PARAMS)
    for _ in range(steps):
        change, state = optimizer.update(GRADS, state, params)
        params = optax.apply_updates(params, change)
    return params, state


def test_momentum_sums_decayed_gradients():
    params, _ = updates()
    np.testing.assert_allclose(
        params["Dense_0"]["kernel"], [1 - 0.1 * (1 + 1.9) * 0.3, -2 - 0.1 * 2.9 * 0.1], rtol=1e-6
    )


def test_momentum_is_stored_as_asked_and_the_update_is_not_rounded():
    params, state = updates(steps=1, momentum_dtype="bfloat16")
    stored = {leaf.dtype for leaf in jax.tree.leaves(state) if leaf.ndim}
    assert stored == {jnp.dtype("bfloat16")}
    np.testing.assert_allclose(params["Dense_0"]["kernel"], [0.97, -2.01], rtol=1e-6)


def test_clipping_scales_the_whole_gradient_to_the_norm():
    norm = np.sqrt(0.3**2 + 0.1**2 + 0.2**2)
    params, _ = updates(steps=1, clip_global_norm=norm / 2)
    np.testing.assert_allclose(params["Dense_0"]["kernel"], [0.985, -2.005], rtol=1e-6)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_weight_decay_is_decoupled_and_times_the_rate_on_matching_names_only(name):
    plain, _ = updates(steps=1, name=name)
    decayed, _ = updates(steps=1, name=name, weight_decay=0.5)
    difference = jax.tree.map(lambda a, b: a - b, decayed, plain)["Dense_0"]
    np.testing.assert_allclose(difference["kernel"], [-0.05, 0.1], rtol=1e-4)
    assert difference["bias"] == 0


def test_adamw_is_optax_adamw():
    optimizer = optax.adamw(0.1, weight_decay=0.5)
    ours = make_optimizer(
        settings(name="adamw", weight_decay=0.5, weight_decay_pattern=".*"),
        optax.constant_schedule(0.1),
        weight_decay=0.5,
    )
    expected, _ = optimizer.update(GRADS, optimizer.init(PARAMS), PARAMS)
    got, _ = ours.update(GRADS, ours.init(PARAMS), PARAMS)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), got, expected)


@pytest.mark.parametrize("pattern, message", [("kernel", "matches no"), ("(", "no regular")])
def test_weight_decay_patterns_that_cannot_work_are_refused(pattern, message):
    with pytest.raises(UserError, match=message):
        check_weight_decay(settings(weight_decay=0.1, weight_decay_pattern=pattern), PARAMS)
