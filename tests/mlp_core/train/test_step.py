import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import common
from mlp_core.checkpoints.train_state import TrainState
from mlp_core.config import parse_config
from mlp_core.data.sources import ArraySource
from mlp_core.distributed.mesh import batch_sharding, replicated
from mlp_core.train.step import make_train_step
from mlp_vision.tasks.classification import ImageClassification
from mlp_vision.tasks.config import ImageClassificationConfig
from mlp_vision.tasks.model_from_config import wanted_spec
from tests.mlp_core.train.quadratic import Quadratic


def image_task(**augment):
    """A small Mixer on made 16-pixel pictures, with random crops and flips."""
    config = common.get_config()
    config.augment.update(augment)
    config.data.image_size = 16
    config.augment.crop = "inception"
    config.augment.flip = True
    rng = np.random.default_rng(0)
    source = ArraySource(
        {
            "image": rng.integers(0, 256, (64, 12, 12, 3), np.uint8),
            "label": rng.integers(0, 10, 64, np.int32),
        }
    )
    config.model.name = "mixer"
    config.model.patch_size = 4
    config.model.hidden_dim = 16
    config.model.num_blocks = 2
    config.model.tokens_mlp_dim = 8
    config.model.channels_mlp_dim = 24
    settings = parse_config(ImageClassificationConfig, config)
    spec = wanted_spec(settings, None, num_classes=10)
    return ImageClassification(
        spec, spec.create_model(), settings.augment, source, {"test": source}
    )


def plain_views(task):
    """`task` without crops and flips."""
    settings = parse_config(ImageClassificationConfig, common.get_config())
    return dataclasses.replace(task, train_views=settings.augment)


def train(task, steps=3, *, devices=1, grad_accum_steps=1, ema_decay=0.0, batch_size=16):
    """State and last scalars after some steps on the first rows of the data."""
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:devices]), ("data",))
    schedule = optax.constant_schedule(0.1)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(schedule, momentum=0.9))
    step = make_train_step(
        task,
        optimizer,
        schedule,
        key=jax.random.key(3),
        grad_accum_steps=grad_accum_steps,
        ema_decay=ema_decay,
    )
    whole = replicated(mesh)
    params = jax.device_put(task.init_params(jax.random.key(0)), whole)
    state = jax.device_put(TrainState.create(params, optimizer, ema_decay > 0), whole)
    step = jax.jit(step, out_shardings=(whole, whole))
    scalars = {}
    batch = jax.device_put(task.train_source.gather(np.arange(batch_size)), batch_sharding(mesh))
    for _ in range(steps):
        state, scalars = step(state, batch)
    return state, scalars


def assert_close(a, b, rtol=1e-5, atol=1e-6):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=atol), a, b)


MIXING = {"mixup_alpha": 0.5, "cutmix_alpha": 1.0, "random_erasing": 0.5}


@pytest.mark.parametrize(
    "grad_accum_steps, augment", [pytest.param(2, {}, marks=pytest.mark.slow), (8, {}), (4, MIXING)]
)
def test_accumulation_gives_the_update_of_one_big_batch(grad_accum_steps, augment):
    task = image_task(**augment)
    whole, scalars = train(task)
    parts, part_scalars = train(task, grad_accum_steps=grad_accum_steps)
    assert_close(parts.params, whole.params)
    assert_close(part_scalars, scalars)


@pytest.mark.parametrize(
    "grad_accum_steps, augment", [(1, {}), pytest.param(2, {}, marks=pytest.mark.slow), (2, MIXING)]
)
def test_eight_devices_train_as_one(grad_accum_steps, augment):
    task = image_task(**augment)
    one, scalars = train(task)
    eight, eight_scalars = train(task, devices=8, grad_accum_steps=grad_accum_steps)
    assert len(eight.params["stem"]["kernel"].sharding.device_set) == 8
    assert_close(eight.params, one.params)
    assert_close(eight_scalars, scalars)


def test_randomness_changes_from_step_to_step_and_repeats_from_run_to_run():
    once, _ = train(image_task(), steps=2)
    again, _ = train(image_task(), steps=2)
    jax.tree.map(np.testing.assert_array_equal, once, again)
    task = Quadratic()
    views = [
        task.augment({"x": np.zeros((2, 3))}, jax.random.fold_in(jax.random.key(0), step))["x"]
        for step in (0, 1)
    ]
    assert np.abs(views[0] - views[1]).max() > 0


def test_the_norms_told_are_those_of_the_gradient_and_of_the_change():
    task = image_task()
    before = task.init_params(jax.random.key(0))
    state, scalars = train(task, steps=1)
    change = jax.tree.map(lambda new, old: np.sum((new - old) ** 2), state.params, before)
    np.testing.assert_allclose(scalars["update_norm"] ** 2, sum(jax.tree.leaves(change)), rtol=1e-4)
    # The first step of SGD, at a rate of 0.1, of a gradient that is clipped to a norm of 1.
    clipped = min(float(scalars["grad_norm"]), 1.0)
    np.testing.assert_allclose(scalars["update_norm"], 0.1 * clipped, rtol=1e-4)


@pytest.mark.parametrize("grad_accum_steps", [1, 2])
def test_the_average_has_a_smaller_decay_at_first_and_then_that_of_the_config(grad_accum_steps):
    decays = [1 / 10, 2 / 11, 3 / 12, 0.3, 0.3]  # min(0.3, (1 + t) / (10 + t)), t from 0.
    states = [
        train(Quadratic(), steps=n, ema_decay=0.3, grad_accum_steps=grad_accum_steps)[0]
        for n in range(len(decays) + 1)
    ]
    kernels = [np.asarray(state.params["layer"]["kernel"]) for state in states]
    expected = kernels[0]
    for state, decay, kernel in zip(states[1:], decays, kernels[1:], strict=True):
        expected = decay * expected + (1 - decay) * kernel
        np.testing.assert_allclose(state.ema_params["layer"]["kernel"], expected, rtol=1e-6)
    np.testing.assert_array_equal(
        states[-1].eval_params["layer"]["kernel"], states[-1].ema_params["layer"]["kernel"]
    )


@pytest.mark.parametrize("ema_decay", [0.99, 0.999, 0.9999])
@pytest.mark.parametrize("steps", [20, 60])
def test_a_run_shorter_than_its_average_remembers_loses_nothing(steps, ema_decay):
    task = plain_views(image_task())
    state, _ = train(task, steps=steps, ema_decay=ema_decay)
    batch = task.augment(task.train_source.gather(np.arange(16)), jax.random.key(0))

    def loss(params):
        return float(task.loss(params, batch, jax.random.key(0))[0])

    initial = loss(task.init_params(jax.random.key(0)))
    assert loss(state.params) < 0.6 * initial
    assert loss(state.ema_params) < loss(state.params) + 0.1 * initial


def test_a_resumed_average_that_still_holds_initial_parameters_recovers():
    """As in checkpoints of runs that averaged from the first step with the decay of the config."""
    task = Quadratic()
    optimizer = optax.sgd(0.1)
    step = jax.jit(
        make_train_step(
            task,
            optimizer,
            lambda step: 0.1,
            key=jax.random.key(0),
            grad_accum_steps=1,
            ema_decay=0.999,
        )
    )
    state = TrainState.create(task.init_params(jax.random.key(0)), optimizer, ema=True)
    state = state.replace(
        step=jnp.asarray(30), ema_params=jax.tree.map(lambda leaf: leaf + 100, state.params)
    )
    batch = task.train_source.gather(np.arange(16))
    for _ in range(60):
        state, _ = step(state, batch)
    np.testing.assert_allclose(
        state.ema_params["layer"]["kernel"], state.params["layer"]["kernel"], atol=0.1
    )


def test_one_batch_can_be_learned_by_heart():
    task = plain_views(image_task())
    _, first = train(task, steps=1)
    _, last = train(task, steps=150)
    assert first["loss"] > 2 and last["loss"] < 0.05 and last["top1"] == 1
