"""The two layouts of the parameters of blocks."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from mlp_core.checkpoints.train_state import TrainState
from mlp_core.config import RateFactor
from mlp_core.distributed.mesh import make_mesh
from mlp_core.nn.stack import (
    has_stacks,
    in_layout_of,
    is_stacked,
    names_by_stack,
    stack_blocks,
    unstack_blocks,
)
from mlp_core.train.optimizer import leave_frozen


def params():
    """Twelve blocks of the one kind, two of the other, within each other's parents."""
    rng = np.random.default_rng(0)

    def block():
        return {"norm": {"scale": rng.random(3)}, "kernel": rng.random((3, 4))}

    bert = {f"BertBlock_{i}": block() for i in range(2)} | {"word": {"embedding": rng.random(3)}}
    return {
        "encoder": {f"GmlpBlock_{i}": block() for i in range(12)} | {"bert": bert},
        "head": {"bias": rng.random(2)},
    }


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_blocks_are_stacked_in_the_order_of_their_numbers():
    single = params()
    stacked = stack_blocks(single)
    assert stacked["encoder"].keys() == {"GmlpBlocks", "bert"}
    kernels = stacked["encoder"]["GmlpBlocks"]["kernel"]
    assert kernels.shape == (12, 3, 4) and isinstance(kernels, np.ndarray)
    np.testing.assert_array_equal(kernels[10], single["encoder"]["GmlpBlock_10"]["kernel"])
    assert stacked["encoder"]["bert"]["BertBlocks"]["norm"]["scale"].shape == (2, 3)
    assert_same(stacked["encoder"]["bert"]["word"], single["encoder"]["bert"]["word"])
    assert_same(stacked["head"], single["head"])
    assert has_stacks(stacked) and not has_stacks(single)


@pytest.mark.parametrize("frozen", ["head/.*", "encoder/bert/.*", "encoder/bert/.*|.*Gmlp.*"])
def test_a_training_state_goes_there_and_back_what_is_frozen_included(frozen):
    adam = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam())
    optimizer = leave_frozen(adam, [RateFactor(pattern=frozen, factor=0.0)])
    states = [
        TrainState.create(jax.tree.map(jnp.asarray, tree), optimizer, ema=True)
        for tree in (params(), stack_blocks(params()))
    ]
    assert_same(stack_blocks(states[0]), states[1])
    assert_same(unstack_blocks(states[1]), states[0])
    for there, tree in ((states[0], states[1]), (states[1], states[0])):
        assert_same(in_layout_of(there, tree), there)
        assert_same(in_layout_of(tree, tree), tree)


def test_shapes_keep_their_shardings():
    mesh = make_mesh(2)

    def shaped(tree, spec):
        sharding = NamedSharding(mesh, spec)
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree
        )

    block, stack = {"kernel": np.zeros((2, 4))}, {"kernel": np.zeros((3, 2, 4))}
    single = {f"MixerBlock_{i}": shaped(block, P(None, "model")) for i in range(3)}
    stacked = {"MixerBlocks": shaped(stack, P(None, None, "model"))}
    assert stack_blocks(single) == stacked and unstack_blocks(stacked) == single


def test_names_tell_the_layout_and_lead_from_one_to_the_other():
    assert is_stacked("encoder/bert/BertBlocks/norm/scale") and is_stacked("MixerBlocks/a")
    assert not is_stacked("encoder/GmlpBlock_0/norm/scale") and not is_stacked("Blocksize/kernel")
    expected = {
        "encoder/bert/BertBlocks/kernel": [f"encoder/bert/BertBlock_{i}/kernel" for i in range(2)],
        "encoder/GmlpBlocks/kernel": [f"encoder/GmlpBlock_{i}/kernel" for i in range(12)],
    }
    for tree in (params(), stack_blocks(params())):
        names = names_by_stack(tree)
        assert len(names) == 4
        assert {name: names[name] for name in expected} == expected


def test_a_tree_without_blocks_stays_as_it_is():
    tree = {"layer": {"kernel": np.ones(3)}, "none": None}
    assert_same(stack_blocks(tree), tree)
    assert_same(unstack_blocks(tree), tree)
