import math
import zipfile
from pathlib import Path

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

import mlp_vision
from mlp_core.errors import UserError
from mlp_core.nn.parameters import flatten
from mlp_core.weights.files import open_weight_file, write_weight_file
from mlp_vision.models.mixer import Mixer
from mlp_vision.weights.loading import expected_params
from mlp_vision.weights.published_weights import PUBLISHED, spec_before_fetching
from tests.conftest import ROOT
from tests.mlp_vision.weights.made_weights import made_arrays, tiny_arrays, write_tiny


@pytest.fixture
def weights(tmp_path):
    return str(write_tiny(tmp_path / "tiny.npz"))


def test_load_pretrained_reads_the_model_off_the_file_and_gives_the_released_logits():
    example = np.load(ROOT / "tests/data/mixer_official_io.npz")
    model, params = mlp_vision.load_pretrained(str(ROOT / "tests/data/mixer_official.npz"))
    assert model == Mixer(
        num_classes=10, patch_size=8, hidden_dim=32, num_blocks=2, tokens_mlp_dim=24,
        channels_mlp_dim=64,
    )  # fmt: skip
    logits = model.apply({"params": params}, example["images"])
    np.testing.assert_allclose(logits, example["logits"], atol=1e-5)


def test_arrays_are_unchanged_by_loading_and_writing(tmp_path, weights):
    _, params = mlp_vision.load_pretrained(weights)
    write_weight_file(tmp_path / "again.npz", flatten(params))
    there, again = (open_weight_file(p).read() for p in (Path(weights), tmp_path / "again.npz"))
    assert there.keys() == again.keys()
    for name, array in there.items():
        np.testing.assert_array_equal(array, again[name])


@pytest.mark.parametrize(
    "head, num_classes, keeps",
    [("auto", 10, True), ("auto", 7, False), ("reset", 10, False), ("keep", 10, True)],
)
def test_head_is_kept_or_zero_as_asked(weights, capsys, head, num_classes, keeps):
    _, params = mlp_vision.load_pretrained(weights, head=head, num_classes=num_classes)
    assert params["head"]["kernel"].shape == (32, num_classes)
    assert bool(params["head"]["kernel"].any()) == keeps
    expected = "with its head of 10" if keeps else f"a zero head of {num_classes} classes in place"
    assert expected in capsys.readouterr().out


def test_no_classes_gives_features_and_says_that_the_head_is_left_out(weights, capsys):
    model, params = mlp_vision.load_pretrained(weights, num_classes=0)
    assert "head" not in params
    assert model.apply({"params": params}, jnp.zeros((1, 32, 32, 3))).shape == (1, 32)
    assert "without its head of 10 classes" in capsys.readouterr().out


def test_an_unknown_way_with_the_head_is_refused(weights):
    with pytest.raises(UserError, match="head='rest' is none of reset, keep, auto"):
        mlp_vision.load_pretrained(weights, head="rest")


def test_keeping_a_head_of_another_width_is_refused(weights):
    with pytest.raises(UserError, match="its head is for 10 classes, the model's for 7; head=res"):
        mlp_vision.load_pretrained(weights, num_classes=7, head="keep")


def test_another_model_is_refused_with_the_fields_to_set(weights):
    with pytest.raises(UserError, match="it needs a model with patch_size=8, hidden"):
        mlp_vision.load_pretrained(weights, model="mixer_s32")
    with pytest.raises(UserError, match="there is no model 'mixer_xl'"):
        mlp_vision.load_pretrained(Path(weights), model="mixer_xl")


@pytest.mark.parametrize("image_size, width", [(448, 1024), (224, 256), (256, 256)])
def test_a_models_name_leaves_the_token_mlps_to_the_image_size(tmp_path, image_size, width):
    path = tmp_path / "s32.npz"
    write_weight_file(path, made_arrays("mixer_s32", 3, 224))
    model, _ = mlp_vision.load_pretrained(path, model="mixer_s32", image_size=image_size)
    assert model.tokens_mlp_dim == width


@pytest.mark.parametrize("fields", [{"image_size": 0}, {"image_size": -8}])
def test_impossible_sizes_are_refused(weights, fields):
    with pytest.raises(UserError, match="there must be one at least"):
        mlp_vision.load_pretrained(weights, **fields)


def test_missing_and_foreign_arrays_are_named(tmp_path):
    arrays = tiny_arrays()
    arrays["MixerBlock_0/LayerNorm_2/scale"] = arrays.pop("MixerBlock_0/LayerNorm_1/scale")
    arrays["MixerBlock_1/token_mixing/Dense_0/kernel"] = np.zeros((64, 24), np.float32)
    write_weight_file(tmp_path / "odd.npz", arrays)
    with pytest.raises(UserError) as error:
        mlp_vision.load_pretrained(str(tmp_path / "odd.npz"))
    for text in (
        "LayerNorm_1/scale: missing, (32,) expected",
        "LayerNorm_2/scale: (32,) there, foreign to the model",
        "MixerBlock_1/token_mixing/Dense_0/kernel: (64, 24) there, (16, 24) expected",
    ):
        assert text in str(error.value)


def test_half_precision_files_are_widened(tmp_path):
    arrays = {name: a.astype(ml_dtypes.bfloat16) for name, a in tiny_arrays().items()}
    np.savez(tmp_path / "half.npz", **arrays)  # numpy stores bfloat16 as two raw bytes.
    _, params = mlp_vision.load_pretrained(str(tmp_path / "half.npz"))
    for name, array in flatten(params).items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, arrays[name].astype(np.float32))


def break_truncate(path):
    path.write_bytes(path.read_bytes()[:-2000])


def break_web_page(path):
    path.write_text("<!doctype html><html>403 Forbidden</html>")


def break_empty(path):
    path.write_bytes(b"")


def break_flip_a_byte(path):
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("head/kernel.npy")
    content = bytearray(path.read_bytes())
    content[info.header_offset + 500] ^= 0xFF
    path.write_bytes(content)


def break_pickle(path):
    np.savez(path, **(tiny_arrays() | {"head/bias": np.array([{}] * 10, dtype=object)}))


def break_integers(path):
    np.savez(path, **(tiny_arrays() | {"head/bias": np.zeros(10, np.int64)}))


def break_foreign(path):
    np.savez(path, **{"Transformer/encoderblock_0/LayerNorm_0/bias": np.zeros(768, np.float32)})


def break_not_arrays(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("README.txt", "hello")


@pytest.mark.parametrize(
    "damage, message",
    [
        (break_truncate, "damaged, cut short"),
        (break_web_page, "web page"),
        (break_empty, "neither an npz nor a safetensors file"),
        (break_flip_a_byte, "damaged"),
        (break_pickle, "damaged|object"),
        (break_integers, "head/bias holds int64"),
        (break_foreign, "no weights of a model"),
        (break_not_arrays, "not a file of arrays"),
    ],
)
def test_damaged_or_foreign_files_are_refused_in_one_sentence(tmp_path, damage, message):
    path = write_tiny(tmp_path / "tiny.npz")
    damage(path)
    with pytest.raises(UserError, match=message) as error:
        mlp_vision.load_pretrained(str(path))
    assert str(path) in str(error.value)


def test_unknown_source_is_refused_with_the_published_names():
    with pytest.raises(
        UserError, match="'Mixer-B_16' is neither a file, the folder of a run, a URL.*imagenet21k/"
    ):
        mlp_vision.load_pretrained("Mixer-B_16")


def test_published_name_from_a_mirror_folder(tmp_path):
    (tmp_path / "gsam").mkdir()
    arrays = made_arrays("mixer_s32", 1000, 224)
    write_weight_file(tmp_path / "gsam" / "Mixer-S_32.npz", arrays)
    model, params = mlp_vision.load_pretrained("gsam/Mixer-S_32", mirror=str(tmp_path))
    assert (model.patch_size, model.num_blocks, model.num_classes) == (32, 8, 1000)
    np.testing.assert_array_equal(params["head"]["kernel"], arrays["head/kernel"])


def test_mirror_without_the_file_is_refused(tmp_path):
    with pytest.raises(
        UserError, match="mirror of the published weights: there is no .*Mixer-S_32.npz"
    ):
        mlp_vision.load_pretrained("gsam/Mixer-S_32", mirror=str(tmp_path))


@pytest.mark.parametrize(
    "mirror", ["http://127.0.0.1:1/w?sig=word", "http://127.0.0.1:1/w/?sig=word"]
)
def test_the_token_of_a_mirror_stays_behind_the_name_of_the_file(monkeypatch, tmp_path, mirror):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"/w/gsam/Mixer-S_32\.npz\?sig=\*\*\*: cannot be fetched"):
        mlp_vision.load_pretrained("gsam/Mixer-S_32", mirror=mirror)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_weights_are_described_without_fetching_them(name):
    spec = spec_before_fetching(name)
    params = expected_params(spec.create_model(), spec.image_size)
    size = sum(4 * math.prod(leaf.shape) for leaf in params.values())
    assert abs(size / 2**20 - PUBLISHED[name].mebibytes) < 0.1  # The rest is names and padding.
    assert spec.output == ("sigmoid" if name.startswith("imagenet21k") else "softmax")


def test_weights_with_nan_are_refused_with_the_name_of_the_array(tmp_path):
    arrays = tiny_arrays()
    arrays["MixerBlock_0/token_mixing/Dense_0/kernel"][3, 5] = np.nan
    write_weight_file(tmp_path / "tiny.npz", arrays)
    with pytest.raises(UserError, match="token_mixing/Dense_0/kernel holds NaN or infinity .1 of"):
        mlp_vision.load_pretrained(str(tmp_path / "tiny.npz"))
