"""Stochastic depth in both of its forms; the MLP block is tested with the Mixer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlp_core.nn.mlp import StochasticDepth, depth_rate

RATE, EXAMPLES = 0.25, 4000


def dropped(rescaled, train=True, seed=0):
    branch = jnp.ones((EXAMPLES, 3, 2))
    rngs = {"dropout": jax.random.key(seed)}
    return np.asarray(StochasticDepth(rescaled).apply({}, branch, RATE, train=train, rngs=rngs))


@pytest.mark.parametrize("rescaled, kept", [(False, 1.0), (True, 1 / (1 - RATE))])
def test_whole_examples_are_dropped_and_others_kept_or_rescaled(rescaled, kept):
    result = dropped(rescaled)
    assert (result == result[:, :1, :1]).all()
    values = result[:, 0, 0]
    np.testing.assert_allclose(np.unique(values), [0, kept], rtol=1e-6)
    share = (values == 0).mean()
    assert abs(share - RATE) < 4 * (RATE * (1 - RATE) / EXAMPLES) ** 0.5


def test_only_the_rescaled_form_keeps_the_mean():
    assert dropped(True).mean() == pytest.approx(1, abs=0.04)
    assert dropped(False).mean() == pytest.approx(1 - RATE, abs=0.03)


def test_nothing_is_dropped_in_evaluation():
    assert (dropped(True, train=False) == 1).all()


def test_what_is_dropped_follows_from_the_key():
    np.testing.assert_array_equal(dropped(False), dropped(False))
    assert (dropped(False) != dropped(False, seed=1)).any()


def test_rates_grow_linearly_from_nothing_to_the_last_blocks():
    assert [depth_rate(0.3, block, 4) for block in range(4)] == pytest.approx([0, 0.1, 0.2, 0.3])
    assert depth_rate(0.3, 0, 1) == 0
