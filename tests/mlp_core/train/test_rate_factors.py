import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import run_fields
from mlp_core.checkpoints.train_state import TrainState
from mlp_core.config import RateFactor, RunConfig, parse_config
from mlp_core.errors import UserError
from mlp_core.nn.parameters import flatten
from mlp_core.train.loop import train
from mlp_core.train.optimizer import check_rate_factors, make_optimizer
from mlp_core.train.step import make_train_step
from tests.mlp_core.train.quadratic import Quadratic
from tests.mlp_core.train.test_loop import Interrupt, StopsAt, final_state

FACTORS = ("encoder/embed/.*=0", "encoder/.*=0.1")


@dataclasses.dataclass(frozen=True)
class ThreeLayers(Quadratic):
    """A sum of three vectors in place of one."""

    def init_params(self, rng):
        first, second, third = (
            {"kernel": jax.random.normal(key, (3,))} for key in jax.random.split(rng, 3)
        )
        return {"encoder": {"embed": first, "block": second}, "head": third}

    def _losses(self, params, batch):
        total = sum(jax.tree.leaves(params))
        return 0.5 * jnp.square(total[None] - batch["x"]).sum(-1)


def settings(*rate_factors, **changes) -> RunConfig:
    config = run_fields.new_config("quadratic", best_metric="test/top1")
    config.optimizer.rate_factors = rate_factors
    config.train.duration = "6 steps"
    config.train.global_batch_size = 8
    config.evaluation.global_batch_size = 8
    config.checkpoint.every = "2 steps"
    config.update_from_flattened_dict(changes)
    return parse_config(RunConfig, config)


def after_steps(config, steps=3):
    """The parameters before and after, and the last scalars."""
    task, schedule = ThreeLayers(noise=0.0), optax.constant_schedule(0.1)
    optimizer = make_optimizer(config.optimizer, schedule, config.optimizer.weight_decay)
    step = make_train_step(
        task,
        optimizer,
        schedule,
        key=jax.random.key(0),
        grad_accum_steps=config.train.grad_accum_steps,
        ema_decay=config.train.ema_decay,
        rate_factors=config.optimizer.rate_factors,
    )
    params = task.init_params(jax.random.key(0))
    state = TrainState.create(params, optimizer, ema=config.train.ema_decay > 0)
    batch, scalars = task.train_source.gather(np.arange(8)), {}
    for _ in range(steps):
        state, scalars = jax.jit(step)(state, batch)
    return params, state, scalars


@pytest.mark.parametrize("grad_accum_steps", [1, 2])
@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_frozen_parameters_stay_as_they_are_and_have_no_state(name, grad_accum_steps):
    config = settings(
        *FACTORS,
        **{
            "optimizer.name": name,
            "optimizer.weight_decay": 0.5,
            "train.grad_accum_steps": grad_accum_steps,
        },
    )
    before, after, _ = after_steps(config)
    first, last = flatten(before), flatten(after.params)
    moved = {name for name in first if not np.array_equal(first[name], last[name])}
    assert moved == {"encoder/block/kernel", "head/kernel"}
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(after.opt_state)]
    kept = {layer: sum(layer in path for path in paths) for layer in ("embed", "block", "head")}
    moments = {"sgd": 1, "adamw": 2}[name]
    assert kept == {"embed": 0, "block": moments, "head": moments}


@pytest.mark.parametrize("ema_decay", [0.9, 0.9999])
def test_the_average_of_frozen_parameters_is_exactly_the_parameters(ema_decay):
    config = settings(*FACTORS, **{"train.ema_decay": ema_decay})
    before, after, _ = after_steps(config, steps=30)
    first, average = flatten(before), flatten(after.ema_params)
    moved = {name for name in first if not np.array_equal(first[name], average[name])}
    assert moved == {"encoder/block/kernel", "head/kernel"}


def first_update(*rate_factors, **changes):
    """What the first step of SGD adds to parameters of 1 with gradients of 2, at rate 0.1."""
    changes |= {"optimizer.name": "sgd", "optimizer.clip_global_norm": 0.0}
    config = settings(*rate_factors, **changes).optimizer
    optimizer = make_optimizer(config, optax.constant_schedule(0.1), config.weight_decay)
    params = jax.tree.map(jnp.ones_like, ThreeLayers().init_params(jax.random.key(0)))
    gradients = jax.tree.map(lambda leaf: 2 * leaf, params)
    updates, _ = optimizer.update(gradients, optimizer.init(params), params)
    return {name: float(update[0]) for name, update in flatten(updates).items()}


def test_a_tenth_of_the_rate_moves_by_a_tenth_decay_included():
    assert first_update("encoder/block/.*=0.1") == pytest.approx(
        {"encoder/embed/kernel": -0.2, "encoder/block/kernel": -0.02, "head/kernel": -0.2}
    )
    decay = {"optimizer.weight_decay": 0.5}
    assert first_update("encoder/block/.*=0.1", **decay) == pytest.approx(
        {"encoder/embed/kernel": -0.25, "encoder/block/kernel": -0.025, "head/kernel": -0.25}
    )


def test_the_first_entry_that_matches_counts_and_the_rest_keep_their_rate():
    assert first_update("encoder/block/.*=3", "encoder/.*=0.1", ".*block.*=0") == pytest.approx(
        {"encoder/embed/kernel": -0.02, "encoder/block/kernel": -0.6, "head/kernel": -0.2}
    )


def test_the_norm_that_is_clipped_and_told_is_that_of_what_is_trained():
    sgd = {"optimizer.name": "sgd", "optimizer.clip_global_norm": 0.01}
    before, after, scalars = after_steps(settings("encoder/.*=0", **sgd), steps=1)
    moved = optax.tree.norm(jax.tree.map(jnp.subtract, after.params, before))
    assert float(moved) == pytest.approx(0.1 * 0.01, rel=1e-3)
    whole = after_steps(settings(**sgd), steps=1)[2]["grad_norm"]
    assert float(scalars["grad_norm"]) == pytest.approx(float(whole) / np.sqrt(3), rel=1e-5)


def test_the_optimizer_itself_clips_by_the_trained_gradient():
    config = settings("a=0", **{"optimizer.name": "sgd", "optimizer.clip_global_norm": 1.0})
    optimizer = make_optimizer(config.optimizer, optax.constant_schedule(1.0), weight_decay=0.0)
    params = {"a": jnp.ones(1), "b": jnp.ones(1)}
    updates, _ = optimizer.update(
        {"a": jnp.full(1, 100.0), "b": jnp.full(1, 0.5)}, optimizer.init(params), params
    )
    assert float(updates["a"][0]) == 0 and float(updates["b"][0]) == -0.5


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_without_factors_the_state_is_that_of_runs_before_there_were_any(name):
    config = settings(**{"optimizer.name": name, "optimizer.weight_decay": 0.5}).optimizer
    schedule = optax.constant_schedule(0.1)
    core = optax.trace(0.9) if name == "sgd" else optax.scale_by_adam()
    former = optax.chain(
        optax.clip_by_global_norm(1.0),
        core,
        optax.add_decayed_weights(0.5, mask=lambda params: jax.tree.map(lambda _: True, params)),
        optax.scale_by_learning_rate(schedule),
    )
    params = ThreeLayers().init_params(jax.random.key(0))
    now = make_optimizer(config, schedule, config.weight_decay).init(params)
    assert jax.tree.structure(now) == jax.tree.structure(former.init(params))


def test_a_run_with_frozen_parameters_goes_on_bit_for_bit(tmp_path):
    config = settings(*FACTORS)
    task = ThreeLayers()
    undisturbed = train(task, config, tmp_path / "a")
    with pytest.raises(Interrupt):
        train(dataclasses.replace(task, train_source=StopsAt(task.train_source, 4)), config,
              tmp_path / "b")  # fmt: skip
    assert train(task, config, tmp_path / "b") == undisturbed
    states = [final_state(tmp_path / folder, step=6) for folder in ("a", "b")]
    jax.tree.map(np.testing.assert_array_equal, *states)


def test_a_pattern_that_matches_nothing_is_refused():
    params = ThreeLayers().init_params(jax.random.key(0))
    check_rate_factors(settings(*FACTORS).optimizer, params)
    with pytest.raises(UserError, match="rate_factors: 'encoder', for 0.1 times .* matches no par"):
        check_rate_factors(settings("head/.*=0", "encoder=0.1").optimizer, params)


def test_entries_are_read_from_the_last_equals_sign():
    assert RateFactor.parse("(?=a).*=1e-2") == RateFactor(pattern="(?=a).*", factor=0.01)
