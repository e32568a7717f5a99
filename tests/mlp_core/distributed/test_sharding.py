import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P
from orbax.checkpoint import v1 as ocp

from mlp_core.config import ShardingConfig, parse_config
from mlp_core.distributed.mesh import make_mesh, put_batch
from mlp_core.distributed.sharding import ParameterPlacement
from mlp_core.errors import UserError
from mlp_core.run_folder.metrics import read_metrics
from mlp_core.train.durations import Plan
from mlp_core.train.loop import train
from mlp_core.train.programs import make_programs
from tests.mlp_core.train.quadratic import Interrupt, StopsAt, settings
from tests.mlp_core.train.two_layers import HIDDEN, WIDTH, TwoLayers

LAYOUTS = {
    "replicated": {},
    "fsdp": {"sharding.layout": "fsdp"},
    "tensor": {"sharding.layout": "tensor", "sharding.model_parallel": 8},
    "fsdp+tensor": {"sharding.layout": "fsdp+tensor", "sharding.model_parallel": 2},
    "rules": {"sharding.rules": ("block/project_in/kernel=-,data", ".*_out/kernel=fsdp")},
}
ADAMW = {"optimizer.name": "adamw", "train.ema_decay": 0.5, "schedule.peak_learning_rate": 0.01}
PARAMS = {
    "stem/kernel": jnp.zeros((4, 4, 3, 64)),
    "block/project_in/kernel": jnp.zeros((64, 256)),
    "block/project_in/bias": jnp.zeros(256),
    "block/project_out/kernel": jnp.zeros((256, 64)),
    "head/kernel": jnp.zeros((64, 10)),
}
MODEL_RULES = (*TwoLayers.tensor_parallel, "head/kernel=model,-")


def placement(**fields):
    config = {"model_parallel": 1, "layout": "replicated", "rules": ()} | fields
    config = parse_config(ShardingConfig, config)
    return ParameterPlacement(config, MODEL_RULES, make_mesh(config.model_parallel))


def specs(**fields):
    placed = placement(**fields)
    placed.check(PARAMS)
    return {name: placed.spec(name, leaf.shape) for name, leaf in PARAMS.items()}


def losses(workdir):
    return [r["train/loss"] for r in read_metrics(workdir / "metrics.jsonl") if "train/loss" in r]


def state_at_end(workdir, step=12):
    return ocp.load(workdir.absolute() / "checkpoints" / str(step))


def test_fsdp_splits_the_largest_dimension_that_divides_and_leaves_small_arrays_whole():
    assert specs(layout="fsdp") == {
        "stem/kernel": P(),  # 3,072 scalars.
        "block/project_in/kernel": P(None, "data"),
        "block/project_in/bias": P(),
        "block/project_out/kernel": P("data", None),
        "head/kernel": P(),
    }


def test_the_tensor_layout_splits_mlps_by_hidden_units_and_the_head_by_channels():
    assert specs(layout="tensor", model_parallel=4) == {
        "stem/kernel": P(),
        "block/project_in/kernel": P(None, "model"),
        "block/project_in/bias": P("model"),
        "block/project_out/kernel": P("model", None),
        "head/kernel": P("model", None),
    }


def test_both_layouts_together_split_two_dimensions():
    both = specs(layout="fsdp+tensor", model_parallel=2)
    assert both["block/project_in/kernel"] == P("data", "model")
    assert both["block/project_out/kernel"] == P("model", "data")
    assert both["block/project_in/bias"] == P("model")


@pytest.mark.parametrize(
    "fields",
    [
        dict(layout="fsdp+tensor", model_parallel=2),
        dict(rules=(".*_in/kernel=-,data", ".*_out/kernel=fsdp")),
    ],
)
def test_stacked_blocks_lie_as_single_ones_do_their_axis_whole(fields):
    shapes = {name: leaf.shape for name, leaf in PARAMS.items() if name.startswith("block/")}
    placed = placement(**fields)
    placed.check({name.replace("block", "GmlpBlocks"): jnp.zeros((8, *shapes[name]))
                  for name in shapes})  # fmt: skip
    for name, shape in shapes.items():
        stacked = placed.spec(name.replace("block", "GmlpBlocks"), (8, *shape))
        assert stacked == P(None, *placed.spec(name, shape))


def test_the_first_rule_that_matches_counts_ahead_of_the_layout():
    rules = ("block/.*in/kernel=replicated", "block/.*/kernel=data,-", ".*in.*=-,data")
    placed = placement(layout="fsdp", rules=rules)
    assert placed.spec("block/project_in/kernel", (64, 256)) == P()
    assert placed.spec("block/project_out/kernel", (256, 64)) == P("data", None)
    assert placed.spec("head/kernel", (512, 64)) == P("data", None)


@pytest.mark.parametrize(
    "fields, message",
    [
        (dict(rules=("nothing/.*=fsdp",)), "'nothing/.*' matches no parameter; names look like"),
        (dict(rules=("head/kernel=-,data",)), "head/kernel=-,data' does not fit 'head/kernel' "
         "(64, 10): 8 devices along 'data' do not divide 10; leave it whole with"),
        (dict(rules=(".*/bias=-,data",)), "names 2 dimensions, but 'block/project_in/bias' (256,)"),
        (dict(rules=("head/.*=fsdp",)), "'head/.*=fsdp' splits nothing"),
        (dict(model_parallel=2), "model_parallel: 2 devices share a model of which nothing is"),
        (dict(model_parallel=3, layout="tensor"), "model_parallel: 8 devices cannot be shared out"),
        (dict(layout="tensor"), "layout: tensor splits each layer"),
        (dict(rules=("head/kernel=-,depth",)), "is no sharding rule; write it as"),
        (dict(rules=("(=fsdp",)), "is no sharding rule"),
    ],
)  # fmt: skip
def test_a_sharding_that_cannot_be_is_refused_in_one_sentence(fields, message):
    with pytest.raises(UserError, match=re.escape(message)):
        specs(**fields)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_momentum_and_average_lie_as_their_parameter_does_before_and_after_a_step(layout):
    task, config = TwoLayers(), settings(**ADAMW, **LAYOUTS[layout])
    mesh = make_mesh(config.sharding.model_parallel)
    programs = make_programs(task, config, Plan.of(config, 56), mesh)
    batch = put_batch(task.train_source.gather(np.arange(8)), mesh)
    state = programs.create_random(jax.random.key(0))
    for _ in range(2):
        adam = state.opt_state[1]
        for tree in (state.params, state.ema_params, adam.mu, adam.nu):
            kernel = tree["block"]["project_in"]["kernel"]
            shards = {shard.data.shape for shard in kernel.addressable_shards}
            assert (
                shards
                == {
                    "replicated": {(WIDTH, HIDDEN)},
                    "fsdp": {(WIDTH, HIDDEN // 8)},
                    "tensor": {(WIDTH, HIDDEN // 8)},
                    "fsdp+tensor": {(WIDTH // 4, HIDDEN // 2)},
                    "rules": {(WIDTH, HIDDEN // 8)},
                }[layout]
            )
        state, _ = programs.train_step(state, programs.numbers, batch)


@pytest.fixture(scope="module")
def on_one_layout(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("replicated")
    return train(TwoLayers(), settings(**ADAMW), workdir), workdir


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "replicated"])
def test_every_layout_trains_and_evaluates_to_the_same_numbers(tmp_path, on_one_layout, layout):
    expected, workdir = on_one_layout
    results = train(TwoLayers(), settings(**ADAMW, **LAYOUTS[layout]), tmp_path)
    assert results == pytest.approx(expected, rel=1e-5)
    assert losses(tmp_path) == pytest.approx(losses(workdir), rel=1e-5)
    here, there = (state_at_end(folder)["params"] for folder in (tmp_path, workdir))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), here, there)


@pytest.mark.parametrize("first, second", [("replicated", "fsdp+tensor"), ("tensor", "fsdp")])
def test_a_run_goes_on_with_another_sharding(tmp_path, on_one_layout, first, second):
    expected, workdir = on_one_layout
    config = {"checkpoint.every": "2 steps"} | ADAMW
    broken = TwoLayers(train_source=StopsAt(TwoLayers().train_source, 9))
    with pytest.raises(Interrupt):
        train(broken, settings(**config, **LAYOUTS[first]), tmp_path)
    results = train(TwoLayers(), settings(**config, **LAYOUTS[second]), tmp_path)
    assert results == pytest.approx(expected, rel=1e-5)
    here, there = (state_at_end(folder)["params"] for folder in (tmp_path, workdir))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), here, there)


def test_batches_are_split_over_groups_of_devices_only():
    mesh = make_mesh(4)
    batch = put_batch({"x": np.arange(6)}, mesh)["x"]
    assert {shard.data.shape for shard in batch.addressable_shards} == {(3,)}
    np.testing.assert_array_equal(batch, np.arange(6))
