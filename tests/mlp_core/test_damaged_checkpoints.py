"""A damaged checkpoint is found, told and set aside, and the newest whole one is taken."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mlp_core.checkpoint import Checkpoints, SavedParams
from mlp_core.checkpoint_folder import saved_steps
from mlp_core.checkpoint_reading import SUMS
from mlp_core.checkpoint_sums import array_sum, state_sums, sums_on_devices
from mlp_core.config import CheckpointConfig
from mlp_core.errors import UserError
from mlp_core.train_loop import train
from mlp_core.train_step import TrainState
from tests.mlp_core.quadratic import Quadratic
from tests.mlp_core.test_train_loop import final_kernel, settings

METRIC = "test/top1"


def made_state(step: int) -> TrainState:
    """With enough random bits that they are not compressed: a flipped one is then only that."""
    bits = np.random.default_rng(step).integers(0, 1 << 23, 50_000, np.uint32)
    params = {"a": {"kernel": jnp.asarray(bits | 0x3F800000).view(jnp.float32)}}
    state = TrainState.create(params, optax.sgd(0.1, momentum=0.9), ema=True)
    return dataclasses.replace(state, step=jnp.int32(step))


def abstract_state() -> TrainState:
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    state = jax.eval_shape(
        lambda params: TrainState.create(params, optax.sgd(0.1, momentum=0.9), ema=True),
        {"a": {"kernel": jax.ShapeDtypeStruct((50_000,), jnp.float32)}},
    )
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), state)


def opened(folder) -> Checkpoints:
    return Checkpoints(folder, CheckpointConfig(every="1 step", keep_latest=5, keep_best=1), METRIC)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder of checkpoints of steps 2, 4 and 6."""
    folder = tmp_path_factory.mktemp("saved")
    checkpoints = opened(folder)
    checkpoints.load_newest(abstract_state())
    for step in (2, 4, 6):
        checkpoints.save(step, made_state(step), {METRIC: 0.1 * step}, {})
    checkpoints.close()
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "checkpoints")


def largest_file(checkpoint):
    return max((checkpoint / "state").rglob("*"), key=lambda path: path.stat().st_size)


def truncate(checkpoint):
    file = largest_file(checkpoint)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def zero_a_block(checkpoint):
    file = largest_file(checkpoint)
    content = bytearray(file.read_bytes())
    content[8192:12288] = bytes(4096)
    file.write_bytes(content)


def flip_a_bit(checkpoint):
    file = largest_file(checkpoint)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def empty_all_files(checkpoint):
    for path in checkpoint.rglob("*"):
        if path.is_file():
            path.write_bytes(b"")


def put_a_file_there(checkpoint):
    shutil.rmtree(checkpoint)
    checkpoint.write_text("?")


def put_an_empty_folder_there(checkpoint):
    shutil.rmtree(checkpoint)
    checkpoint.mkdir()


def take_another_step(checkpoint):
    shutil.rmtree(checkpoint)
    shutil.copytree(checkpoint.with_name("4"), checkpoint)


DAMAGE = {
    "a data file cut short": truncate,
    "a block of zeros": zero_a_block,
    "a flipped bit": flip_a_bit,
    "a data file gone": lambda checkpoint: largest_file(checkpoint).unlink(),
    "arrays gone": lambda checkpoint: shutil.rmtree(checkpoint / "state"),
    "metadata of the arrays": lambda c: (c / "state" / "_METADATA").write_text('{"tree": ['),
    "metadata": lambda c: (c / "_CHECKPOINT_METADATA").write_text('{"custom'),
    "metadata gone": lambda c: (c / "_CHECKPOINT_METADATA").unlink(),
    "metrics": lambda c: (c / "metrics" / "metrics").write_text("{"),
    "other metrics": lambda c: (c / "metrics" / "metrics").write_text('{"x": 1}'),
    "all files empty": empty_all_files,
    "a file in its place": put_a_file_there,
    "an empty folder": put_an_empty_folder_there,
    "another checkpoint": take_another_step,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_the_newest_whole_checkpoint_is_taken_and_the_damaged_one_kept_aside(
    folder, damage, capsys
):
    damage(folder / "6")
    checkpoints = opened(folder)
    state = checkpoints.load_newest(abstract_state())
    assert state.step == 4
    np.testing.assert_array_equal(state.params["a"]["kernel"], made_state(4).params["a"]["kernel"])
    out = capsys.readouterr().out
    assert f"Note: {folder}/6: this checkpoint is damaged" in out and "NoneType" not in out
    assert f"kept as {folder}/damaged_6\n" in out and f"goes on from step 4, {folder}/4\n" in out
    assert saved_steps(folder) == [2, 4] and checkpoints.latest_step == 4
    checkpoints.save(6, made_state(6), {METRIC: 0.6}, {})
    checkpoints.close()
    assert saved_steps(folder) == [2, 4, 6] and (folder / "damaged_6").exists()
    again = opened(folder)
    assert again.load_newest(abstract_state()).step == 6
    again.close()


def test_a_checkpoint_damaged_twice_is_kept_twice(folder):
    for _ in range(2):
        truncate(folder / "6")
        checkpoints = opened(folder)
        checkpoints.load_newest(abstract_state())
        checkpoints.save(6, made_state(6), None, {})
        checkpoints.close()
    assert (folder / "damaged_6").exists() and (folder / "damaged_6_2").exists()


def test_where_none_is_whole_the_run_is_refused_and_nothing_moved(folder):
    for step, damage in ((2, truncate), (4, put_an_empty_folder_there), (6, empty_all_files)):
        damage(folder / str(step))
    for _ in range(2):  # The second time as the first.
        with pytest.raises(UserError, match="no checkpoint there is whole .*6: .*; 4: .*; 2: "):
            opened(folder).load_newest(abstract_state())
    assert saved_steps(folder) == [2, 4, 6]


def test_older_checkpoints_with_damaged_metrics_do_not_stand_in_the_way(folder, capsys):
    (folder / "2" / "metrics" / "metrics").write_text("[")
    checkpoints = opened(folder)
    assert checkpoints.load_newest(abstract_state()).step == 6
    assert "2: this checkpoint is damaged" in capsys.readouterr().out
    assert checkpoints.best_step() == 6
    checkpoints.close()


def test_what_is_no_checkpoint_is_left_alone_and_orbax_agrees(folder):
    for name in ("08", "8.orbax-checkpoint-tmp", "damaged_9", "notes"):
        shutil.copytree(folder / "6", folder / name)
    assert saved_steps(folder) == [2, 4, 6]
    checkpoints = opened(folder)
    assert checkpoints.load_newest(abstract_state()).step == checkpoints.latest_step == 6
    checkpoints.save(8, made_state(8), None, {})
    checkpoints.close()
    assert saved_steps(folder) == [2, 4, 6, 8] and (folder / "notes").exists()


def test_checkpoints_without_sums_are_read_unchecked(folder):
    file = folder / "6" / "_CHECKPOINT_METADATA"
    metadata = json.loads(file.read_text())
    assert set(metadata["custom_metadata"].pop(SUMS)) == {
        "step", "params", "opt_state", "ema_params"
    }  # fmt: skip
    file.write_text(json.dumps(metadata))
    checkpoints = opened(folder)
    assert checkpoints.load_newest(abstract_state()).step == 6
    checkpoints.close()
    SavedParams(folder / "6").read()


def test_parameters_that_are_not_those_saved_are_refused(folder):
    file = folder / "6" / "_CHECKPOINT_METADATA"
    metadata = json.loads(file.read_text())
    metadata["custom_metadata"][SUMS]["ema_params"] ^= 1
    file.write_text(json.dumps(metadata))
    with pytest.raises(UserError, match="6: no whole .*ema_params are other numbers than were sav"):
        SavedParams(folder / "6").read()
    assert SavedParams(folder / "4").read().keys() == {"a/kernel"}


def test_sums_are_the_same_on_host_and_device_and_however_arrays_lie():
    arrays = {
        "float": np.random.default_rng(0).standard_normal((8, 16), np.float32),
        "half": np.arange(-24, 24, dtype=jnp.bfloat16).reshape(8, 6),
        "count": np.arange(8, dtype=np.int32),
    }

    def sums(params):
        state = TrainState(jnp.int32(3), params, (), None)
        found = state_sums(state)
        assert sums_on_devices({"params": jax.tree.leaves(params)}) == {"params": found["params"]}
        return found

    expected = {"step": 3, "params": array_sum(arrays.values()), "opt_state": 0, "ema_params": 0}
    assert sums(jax.tree.map(jnp.asarray, arrays)) == expected
    assert sums({k: [jnp.asarray(row) for row in rows] for k, rows in arrays.items()}) == expected
    mesh = Mesh(np.array(jax.devices()[:8]), "data")
    sharded = jax.device_put(arrays, NamedSharding(mesh, PartitionSpec("data")))
    assert sums(sharded) == expected
    arrays["float"][3, 3] = -arrays["float"][3, 3]
    assert sums(jax.tree.map(jnp.asarray, arrays))["params"] != expected["params"]


def test_a_run_whose_newest_checkpoint_is_damaged_ends_where_an_undisturbed_one_does(
    tmp_path, capsys
):
    results = train(Quadratic(), settings(), tmp_path)
    kernel = final_kernel(tmp_path)
    empty_all_files(tmp_path / "checkpoints" / "12")
    capsys.readouterr()
    assert train(Quadratic(), settings(), tmp_path) == results
    out = capsys.readouterr().out
    assert "damaged_12" in out and "goes on from step 8" in out
    np.testing.assert_array_equal(final_kernel(tmp_path), kernel)


def test_parameters_with_nan_are_refused_with_their_name(tmp_path):
    checkpoints, state = opened(tmp_path), made_state(2)
    checkpoints.load_newest(abstract_state())
    kernel = state.ema_params["a"]["kernel"].at[7].set(jnp.nan)
    checkpoints.save(2, dataclasses.replace(state, ema_params={"a": {"kernel": kernel}}), None, {})
    checkpoints.close()
    with pytest.raises(UserError, match=r"2: a/kernel holds NaN or infinity \(1 of its 50,000"):
        SavedParams(tmp_path / "2").read()
