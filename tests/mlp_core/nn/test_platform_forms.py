"""Forms for CPUs: the same numbers, and what they are there for."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlp_core.distributed.mesh import make_mesh
from mlp_core.nn.dense import Dense, materialized
from mlp_core.process.compilation import compiler_options

INPUTS = jax.random.normal(jax.random.key(0), (4, 6, 8))


def gradient_of(dense):
    """A function from the parameters of a layer to their gradient."""
    return jax.grad(lambda params: jnp.sum(jnp.sin(dense(5).apply(params, INPUTS))))


def test_dense_has_the_parameters_values_and_gradients_of_flax():
    params = nn.Dense(5).init(jax.random.key(1), INPUTS)
    ours, theirs = Dense(5).init(jax.random.key(1), INPUTS), params
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
    np.testing.assert_allclose(
        Dense(5).apply(params, INPUTS), nn.Dense(5).apply(params, INPUTS), rtol=1e-6
    )
    for ours, theirs in zip(
        *(jax.tree.leaves(gradient_of(dense)(params)) for dense in (Dense, nn.Dense)), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.parametrize("platform, contracted", [("cpu", "[0] x [0]"), ("tpu", "[0, 1] x [0, 1]")])
def test_the_gradient_of_a_kernel_contracts_one_axis_on_cpus_only(platform, contracted):
    params = Dense(5).init(jax.random.key(1), INPUTS)
    program = jax.jit(gradient_of(Dense)).trace(params).lower(lowering_platforms=(platform,))
    assert f"contracting_dims = {contracted}" in program.as_text()


def additions(depth, kept, options):
    """How often a compiled gradient of blocks with skip connections adds."""

    def block(x, kernel):
        x = kept(x)
        centered = x - jnp.mean(x, axis=-1, keepdims=True)
        return x + centered @ kernel

    def loss(kernels, x):
        for kernel in kernels:
            x = block(x, kernel)
        return jnp.sum(x * x)

    kernels = [jnp.ones((8, 8))] * depth
    compiled = jax.jit(jax.grad(loss), compiler_options=options).lower(kernels, INPUTS[0]).compile()
    return compiled.as_text().count(" add(")


def test_skip_connections_cost_the_same_in_every_block():
    options = compiler_options(make_mesh())
    deep, shallow = (additions(depth, materialized, options) for depth in (16, 8))
    assert deep <= 2.2 * shallow
    assert additions(16, lambda x: x, options) > 3 * shallow


def test_other_platforms_have_no_barriers():
    program = jax.jit(materialized).trace(INPUTS).lower(lowering_platforms=("tpu",))
    assert "optimization_barrier" not in program.as_text()
