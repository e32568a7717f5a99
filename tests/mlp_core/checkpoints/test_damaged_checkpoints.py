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

from mlp_core.checkpoints.checksums import (
    PLAIN,
    WEIGHTED,
    named_arrays,
    state_sums,
    sums_on_devices,
    sums_on_host,
)
from mlp_core.checkpoints.restore import METADATA_CHECKSUM
from mlp_core.checkpoints.save import Checkpoints, SavedParams
from mlp_core.checkpoints.train_state import TrainState
from mlp_core.config import CheckpointConfig
from mlp_core.errors import UserError
from mlp_core.run_folder.checkpoint_folder import saved_steps
from mlp_core.train.loop import train
from tests.mlp_core.train.quadratic import Quadratic
from tests.mlp_core.train.test_loop import final_kernel, settings

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


def edit_custom_metadata(checkpoint, edit):
    """Changes custom metadata, without a checksum of them as older checkpoints have none."""
    file = checkpoint / "_CHECKPOINT_METADATA"
    metadata = json.loads(file.read_text())
    del metadata["custom_metadata"][METADATA_CHECKSUM]
    edit(metadata["custom_metadata"])
    file.write_text(json.dumps(metadata))


def test_checkpoints_without_sums_are_read_unchecked(folder):
    def remove(custom):
        assert set(custom.pop(WEIGHTED)) == {"step", "params", "opt_state", "ema_params"}

    edit_custom_metadata(folder / "6", remove)
    checkpoints = opened(folder)
    assert checkpoints.load_newest(abstract_state()).step == 6
    checkpoints.close()
    SavedParams(folder / "6").read()


def test_parameters_that_are_not_those_saved_are_refused(folder):
    def flip(custom):
        custom[WEIGHTED]["ema_params"] ^= 1

    edit_custom_metadata(folder / "6", flip)
    with pytest.raises(UserError, match="6: no whole .*ema_params are other numbers than were sav"):
        SavedParams(folder / "6").read()
    assert SavedParams(folder / "4").read().keys() == {"a/kernel"}


@pytest.mark.parametrize("flipped", [False, True])
def test_checkpoints_with_plain_sums_are_checked_by_them(folder, flipped):
    def as_before(custom):
        del custom[WEIGHTED]
        custom[PLAIN] = state_sums(made_state(6), PLAIN)
        custom[PLAIN]["ema_params"] ^= flipped

    edit_custom_metadata(folder / "6", as_before)
    checkpoints = opened(folder)
    assert checkpoints.load_newest(abstract_state()).step == (4 if flipped else 6)
    checkpoints.close()


@pytest.mark.parametrize(
    "file, old, new",
    [
        ("_CHECKPOINT_METADATA", '"loss": 2.5', '"loss": 3.5'),
        ("metrics/metrics", "0.6", "0.7"),
    ],
)
def test_metrics_in_a_checkpoint_that_are_not_those_saved_are_found(tmp_path, file, old, new):
    checkpoints = opened(tmp_path)
    checkpoints.load_newest(abstract_state())
    for step in (4, 6):
        unreported = {"steps": 2, "sums": {"loss": 2.5}}
        checkpoints.save(step, made_state(step), {METRIC: 0.6}, unreported)
    checkpoints.close()
    content = (tmp_path / "6" / file).read_text()
    assert content.count(old) == 1
    (tmp_path / "6" / file).write_text(content.replace(old, new))
    checkpoints = opened(tmp_path)
    assert checkpoints.load_newest(abstract_state()).step == 4
    assert checkpoints.unreported(4) == unreported
    checkpoints.close()


# Of the arrays of `made_arrays`, in place.
REARRANGED = {
    "two signs flipped": lambda x: np.negative(
        x["a"].ravel()[5:140_000:70_000], x["a"].ravel()[5:140_000:70_000]
    ),
    "signs flipped either way": lambda x: np.negative(x["a"][0, :2], x["a"][0, :2]),
    "a kernel negated": lambda x: np.negative(x["a"], x["a"]),
    "rows reversed": lambda x: x["a"].__setitem__(slice(None), x["a"][::-1].copy()),
    "columns reversed": lambda x: x["a"].__setitem__(slice(None), x["a"][:, ::-1].copy()),
    "a kernel transposed": lambda x: x["a"].__setitem__(slice(None), x["a"].T.copy()),
    "two numbers exchanged": lambda x: (
        x["a"].ravel().__setitem__([3, 90_000], x["a"].ravel()[[90_000, 3]])
    ),
    "two blocks of a file exchanged": lambda x: (
        x["a"].ravel().__setitem__(slice(0, 65536), np.roll(x["a"].ravel()[:65536], 32768))
    ),
    "two arrays exchanged": lambda x: x.update(a=x["b"], b=x["a"]),
    "halves shifted by a number": lambda x: x.update(half=np.roll(x["half"], 1)),
    "bytes reversed": lambda x: x.update(bytes=x["bytes"][::-1]),
    "counts exchanged": lambda x: x.update(counts=x["counts"][::-1]),
    "a bit set in one and cleared in another": lambda x: x["counts"].__iadd__([1, -1, 0, 0]),
}


def made_arrays():
    numbers = np.random.default_rng(0)
    return {
        "a": numbers.standard_normal((384, 384), np.float32),
        "b": numbers.standard_normal((384, 384), np.float32),
        "half": np.arange(-24, 24, dtype=jnp.bfloat16).reshape(8, 6),
        "bytes": np.arange(200, dtype=np.uint8),
        "counts": np.array([2, 3, 5, 7], np.int32),
    }


@pytest.mark.parametrize("rearrange", REARRANGED.values(), ids=REARRANGED.keys())
def test_sums_change_with_the_order_and_the_signs_of_numbers(rearrange):
    arrays = made_arrays()
    before = sums_on_host({"params": arrays})
    rearrange(arrays)
    assert sums_on_host({"params": arrays}) != before


def test_every_change_of_one_bit_changes_a_sum():
    word, found = np.zeros(1, np.uint32), set()
    for bit in range(33):  # The last one flips none.
        word[0] = 0x3F812345 ^ (1 << bit & 0xFFFFFFFF)
        found.add(sums_on_host({"params": {"a": word}})["params"])
    assert len(found) == 33


def test_flipped_signs_change_a_sum_whichever_two_they_are():
    arrays = {"a": np.random.default_rng(1).standard_normal(20_000, np.float32)}
    before, numbers = sums_on_host({"params": arrays}), np.random.default_rng(2)
    for _ in range(300):
        two = numbers.choice(20_000, 2, replace=False)
        arrays["a"][two] *= -1
        assert sums_on_host({"params": arrays}) != before
        arrays["a"][two] *= -1


@pytest.mark.parametrize("method", [WEIGHTED, PLAIN])
def test_sums_are_the_same_on_host_and_device_and_however_arrays_are_sharded(method):
    arrays = made_arrays() | {"block": {"long": np.arange(200_000.0, dtype=np.float32)}}

    def sums(params):
        state = TrainState(jnp.int32(3), params, (), None)
        found = state_sums(state, method)
        parts = {"params": named_arrays(params)}
        assert sums_on_devices(parts, method) == {"params": found["params"]}
        assert (found["opt_state"], found["ema_params"]) == (0, 0)
        return found

    expected = sums(jax.tree.map(jnp.asarray, arrays))
    devices = np.array(jax.devices()[:8])
    sharded = jax.device_put(arrays, NamedSharding(Mesh(devices, "data"), PartitionSpec()))
    assert sums(sharded) == expected
    by_rows = NamedSharding(Mesh(devices, "data"), PartitionSpec("data"))
    sharded["a"] = jax.device_put(arrays["a"], by_rows)
    tiles = NamedSharding(
        Mesh(devices.reshape(2, 4), ("data", "model")), PartitionSpec("model", "data")
    )
    sharded["b"] = jax.device_put(arrays["b"], tiles)
    sharded["block"]["long"] = jax.device_put(arrays["block"]["long"], by_rows)
    assert sums(sharded) == expected


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
