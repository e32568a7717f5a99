"""Blocks one by one or scanned, with and without rematerialisation: one model in all forms."""

import functools
import re
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlp_core.nn.gmlp import GmlpBlock
from mlp_core.nn.stack import block_stack, stack_blocks, unstack_blocks

B, S, C, BLOCKS = 3, 5, 8, 2
X = np.random.default_rng(0).standard_normal((B, S, C)).astype(np.float32)
KEY = jax.random.key(0, impl="rbg")  # Compiles sooner than others.
MASK = np.array([[1] * 5, [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]], np.uint8)


class Tower(nn.Module):
    """Nothing but blocks of gMLP, or of aMLP."""

    scanned: bool = False
    remat: str = "none"
    num_blocks: int = BLOCKS
    attention: int = 0
    dropout_rate: float = 0.0
    stochastic_depth: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, mask=None, train=True, all_states=False):
        fields = dict(ffn_dim=16, tiny_attention_dim=self.attention)
        return block_stack(
            GmlpBlock,
            fields | dict(dropout_rate=self.dropout_rate, dtype=self.dtype),
            x.astype(self.dtype),
            mask,
            num_blocks=self.num_blocks,
            train=train,
            stochastic_depth=self.stochastic_depth,
            scan_layers=self.scanned,
            remat=self.remat,
            all_states=all_states,
        )


class NoisyBlock(nn.Module):
    """Adds what dropout leaves of ones."""

    @nn.compact
    def __call__(self, x, *, train):
        return x + nn.Dropout(0.5, deterministic=not train)(jnp.ones_like(x))


class NoisyTower(nn.Module):
    """Its states are sums of what its blocks draw."""

    @nn.compact
    def __call__(self, x):
        return block_stack(
            NoisyBlock, {}, x, num_blocks=BLOCKS, train=True, scan_layers=True, all_states=True
        )


@functools.cache
def params(scanned=False):
    """Parameters all of which count."""
    shapes = jax.eval_shape(Tower().init, KEY, X)["params"]
    rng = np.random.default_rng(1)
    single = jax.tree.map(lambda leaf: rng.normal(0.1, 0.3, leaf.shape).astype(np.float32), shapes)
    return stack_blocks(single) if scanned else single


def result(tower, x=X, **options):
    """What `tower` makes of `x`."""

    @jax.jit
    def apply(params):
        return tower.apply({"params": params}, x, **options)

    return apply(params(tower.scanned))


@functools.cache
def value_and_gradient(scanned, remat, rate):
    """Of the squared result; the gradient with names of its own for each block."""
    tower = Tower(scanned, remat, dropout_rate=rate, stochastic_depth=rate)

    def loss(params):
        states = tower.apply({"params": params}, X, MASK, rngs={"dropout": KEY})
        return jnp.square(states).mean()

    value, gradient = jax.jit(jax.value_and_grad(loss))(params(scanned))
    return value, unstack_blocks(gradient)


def assert_close(here, expected):
    assert jax.tree.structure(here) == jax.tree.structure(expected)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-6), here, expected
    )


def test_scanned_blocks_have_the_result_and_gradient_of_others():
    assert_close(value_and_gradient(True, "none", 0.0), value_and_gradient(False, "none", 0.0))


@pytest.mark.parametrize("scanned, remat", [(False, "blocks"), (True, "dots")])
def test_rematerialisation_changes_neither_numbers_nor_what_is_drawn(scanned, remat):
    expected = value_and_gradient(scanned, "none", 0.5)
    assert_close(value_and_gradient(scanned, remat, 0.5), expected)
    assert expected[0] != value_and_gradient(scanned, "none", 0.0)[0]


def test_initial_values_do_not_depend_on_rematerialisation():
    plain, rematted = (jax.jit(Tower(remat=remat).init)(KEY, X) for remat in ("none", "blocks"))
    jax.tree.map(np.testing.assert_array_equal, plain, rematted)


@pytest.mark.parametrize("scanned", [False, True])
def test_all_states_are_the_input_and_what_each_block_makes(scanned):
    states = result(Tower(scanned), all_states=True)
    assert len(states) == 1 + BLOCKS
    np.testing.assert_array_equal(states[0], X)
    apply = jax.jit(GmlpBlock(16).apply)
    for i in range(BLOCKS):
        expected = apply({"params": params()[f"GmlpBlock_{i}"]}, states[i])
        np.testing.assert_allclose(states[i + 1], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scanned", [False, True])
def test_stochastic_depth_grows_and_drops_whole_blocks_of_some_examples(scanned):
    x = np.repeat(X[:1], 400, axis=0)
    tower = Tower(scanned, num_blocks=BLOCKS, stochastic_depth=0.6)
    states = result(tower, x, all_states=True, rngs={"dropout": KEY})
    shares = []
    for before, after in zip(states, states[1:], strict=False):
        same = np.asarray(after == before)
        dropped = same.all((1, 2))
        assert (same.mean((1, 2))[~dropped] < 0.5).all()
        shares.append(dropped.mean())
    np.testing.assert_allclose(shares, [0, 0.6], atol=0.1)


@pytest.mark.parametrize("scanned", [False, True])
def test_without_rates_nothing_is_drawn(scanned):
    trained, evaluated = (result(Tower(scanned), train=train) for train in (True, False))
    np.testing.assert_array_equal(trained, evaluated)


def test_scanned_blocks_draw_each_for_itself():
    rngs = {"dropout": KEY}
    states = jax.jit(lambda: NoisyTower().apply({}, jnp.zeros((4, 16)), rngs=rngs))()
    first, second = np.diff(np.stack(states), axis=0)
    assert not np.array_equal(first, second)


def test_scanned_blocks_start_different_and_as_wide_as_others():
    kernels = [jax.jit(Tower(scanned).init)(KEY, X)["params"] for scanned in (True, False)]
    stacked = kernels[0]["GmlpBlocks"]["project_in"]["kernel"]
    single = kernels[1]["GmlpBlock_0"]["project_in"]["kernel"]
    assert stacked.shape == (BLOCKS, *single.shape)
    assert not np.array_equal(stacked[0], stacked[1])
    np.testing.assert_allclose(np.std(stacked, axis=(1, 2)), np.std(single), rtol=0.3)


def test_bfloat16_goes_through_a_loop_with_stochastic_depth():
    tower = Tower(True, dtype=jnp.bfloat16, stochastic_depth=0.5)
    assert result(tower, rngs={"dropout": KEY}).dtype == jnp.bfloat16


def operations(program, *arguments):
    """How often each kind of operation stands in a program, loops counted once."""
    text = str(jax.make_jaxpr(program)(*arguments))
    names = ("dot_general", "tanh", "random_bits")
    return {name: len(re.findall(rf"= {name}\b", text)) for name in names}


def operations_of_gradient(**fields):
    tower = Tower(**fields)
    params = jax.eval_shape(tower.init, KEY, X)
    return operations(jax.grad(lambda params: tower.apply(params, X).sum()), params)


@pytest.mark.parametrize("remat", ["none", "dots"])
def test_the_program_of_scanned_blocks_does_not_grow_with_their_number(remat):
    few, many = (operations_of_gradient(scanned=True, remat=remat, num_blocks=n) for n in (2, 9))
    assert few == many and few["dot_general"] > 0
    few, many = (operations(Tower(True, remat, n).init, KEY, X) for n in (2, 9))
    assert few == many and few["random_bits"] > 0


@pytest.mark.parametrize("scanned", [False, True])
def test_blocks_make_all_again_and_dots_only_what_is_no_product_with_weights(scanned):
    none, blocks, dots = (
        operations_of_gradient(scanned=scanned, remat=remat, attention=4)
        for remat in ("none", "blocks", "dots")
    )
    programs = 1 if scanned else BLOCKS
    for name, by_blocks, by_dots in [("tanh", 2, 2), ("dot_general", 7, 2)]:
        assert blocks[name] - none[name] == by_blocks * programs
        assert dots[name] - none[name] == by_dots * programs  # The two are attention's.
