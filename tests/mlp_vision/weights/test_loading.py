"""Weights of every layout are told by their content and give the numbers of their origin."""

import dataclasses
import json
import pickle
import shutil
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest

import mlp_vision
from mlp_core.errors import UserError
from mlp_core.weights.files import open_weight_file, write_weight_file
from mlp_vision.models.weight_layouts import to_timm
from mlp_vision.weights.loading import metadata_of, open_weights
from mlp_vision.weights.published_weights import locate_weights
from tests.conftest import ROOT
from tests.mlp_vision.weights.made_weights import tiny_arrays, write_tiny

DATA = ROOT / "tests" / "data"


def legacy(arrays):
    """The layout of files older than the published ones, with axes of length one in the MLPs."""
    named = {}
    for name, array in arrays.items():
        name = name.replace("stem/", "embedding/").replace("pre_head_layer_", "Mixer/encoder_")
        name = name.replace("MixerBlock_", "Mixer/encoderblock_")
        if "_mixing/" in name:
            block, dense, leaf = name.rsplit("/", 2)
            name = f"{block}_phase_0/{leaf}{int(dense[-1]) + 1}"
            array = array[None] if array.ndim == 1 else array[:, None, :]
        named[name] = array
    return named


def test_timm_weights_give_timms_logits():
    example = np.load(DATA / "mixer_timm_io.npz")
    model, params = mlp_vision.load_pretrained(str(DATA / "mixer_timm.safetensors"))
    logits = model.apply({"params": params}, example["images"])
    np.testing.assert_allclose(logits, example["logits"], atol=1e-5)


@pytest.mark.parametrize("field, value", [("gelu", "tanh"), ("layer_norm_epsilon", 1e-3)])
def test_timm_weights_need_timms_numerics(field, value):
    example = np.load(DATA / "mixer_timm_io.npz")
    model, params = mlp_vision.load_pretrained(str(DATA / "mixer_timm.safetensors"))
    logits = model.clone(**{field: value}).apply({"params": params}, example["images"])
    assert np.abs(logits - example["logits"]).max() > 5e-5


def test_layouts_are_told_by_content_and_hold_the_same_parameters(tmp_path):
    arrays = tiny_arrays()
    files = {
        "published": tmp_path / "published.npz",
        "legacy": tmp_path / "legacy.npz",
        "timm": tmp_path / "timm.safetensors",
    }
    write_weight_file(files["published"], arrays)
    write_weight_file(files["legacy"], legacy(arrays))
    write_weight_file(files["timm"], to_timm("MixerBlock", arrays))
    for layout, path in files.items():
        nameless = path.rename(tmp_path / layout)  # No suffix helps.
        weights = open_weights(nameless)
        assert weights.origin == f"{layout} layout"
        assert weights.spec.gelu == ("erf" if layout == "timm" else "tanh")
        assert weights.spec.eval_preset == ("timm" if layout == "timm" else "resmall_crop")
        read = weights.read()
        assert read.keys() == arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(read[name], array)


def test_the_configuration_beside_timm_weights_sets_their_preprocessing(tmp_path):
    write_weight_file(tmp_path / "model.safetensors", to_timm("MixerBlock", tiny_arrays()))
    config = {"mean": [0.0] * 3, "std": [1.0] * 3, "interpolation": "bilinear", "crop_pct": 0.875}
    (tmp_path / "config.json").write_text(json.dumps({"pretrained_cfg": config}))
    spec = open_weights(tmp_path).spec
    assert spec.value_range == (0.0, 1.0) and spec.eval_preset == "resmall_crop"
    config["mean"] = [0.485, 0.456, 0.406]
    (tmp_path / "config.json").write_text(json.dumps({"pretrained_cfg": config}))
    with pytest.raises(UserError, match=r"config.json: .*ranges of their own"):
        open_weights(tmp_path)


def test_a_query_does_not_hide_the_configuration_beside_timm_weights(mirror, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    address, folder = mirror
    write_weight_file(folder / "model.safetensors", to_timm("MixerBlock", tiny_arrays()))
    config = {"mean": [0.0] * 3, "std": [1.0] * 3, "interpolation": "bilinear", "crop_pct": 0.875}
    (folder / "config.json").write_text(json.dumps({"pretrained_cfg": config}))
    spec = open_weights(locate_weights(f"{address}/model.safetensors?download=true")).spec
    assert spec.value_range == (0.0, 1.0)


def test_what_an_exported_file_says_of_its_model_holds(tmp_path):
    spec = open_weights(write_tiny(tmp_path / "plain.npz")).spec
    spec = dataclasses.replace(
        spec, gelu="erf", value_range=(0.0, 1.0), output="sigmoid", class_names=tuple("abcdefghij")
    )
    for suffix in ("npz", "safetensors"):
        path = tmp_path / f"described.{suffix}"
        write_weight_file(path, tiny_arrays(), metadata_of(spec))
        assert open_weights(path).spec == spec


@pytest.mark.parametrize("text", ["{}", "no json", '{"patch_size": "__import__(\'os\')"}'])
def test_a_description_that_is_none_is_refused(tmp_path, text):
    write_weight_file(tmp_path / "odd.npz", tiny_arrays(), {"all_mlp_model": text})
    with pytest.raises(UserError, match="odd.npz: does not describe a model of this project"):
        open_weights(tmp_path / "odd.npz")


def test_a_pickle_is_refused_whatever_it_is_called(tmp_path):
    (tmp_path / "old.npz").write_bytes(pickle.dumps({"stem.proj.weight": 1}))
    with zipfile.ZipFile(tmp_path / "new.safetensors", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
    for name in ("old.npz", "new.safetensors"):
        with pytest.raises(UserError, match="pickle of PyTorch's.*safetensors"):
            open_weights(tmp_path / name)


def test_safetensors_cut_short_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    write_weight_file(path, to_timm("MixerBlock", tiny_arrays()))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="damaged, or cut short"):
        open_weights(path)


def test_the_folder_of_a_run_and_of_a_checkpoint_are_weights(trained_run):
    workdir = trained_run
    latest, early = open_weights(workdir), open_weights(workdir / "checkpoints" / "10")
    assert latest.origin.endswith("step 20") and early.origin.endswith("step 10")
    assert latest.spec == early.spec and latest.spec.value_range == (0.0, 1.0)
    latest, early = latest.read(), early.read()
    assert latest.keys() == early.keys()
    assert any(np.abs(latest[name] - early[name]).max() > 0 for name in latest)


def test_a_run_is_loaded_in_python_by_its_folder(trained_run):
    model, params = mlp_vision.load_pretrained(str(trained_run))
    size = open_weights(trained_run).spec.image_size
    assert model.apply({"params": params}, jnp.zeros((2, size, size, 3))).shape == (2, 10)
    assert params["head"]["kernel"].any()


def test_a_damaged_checkpoint_is_told_and_the_one_before_it_taken(trained_run, tmp_path, capsys):
    copy = shutil.copytree(trained_run, tmp_path / "copy")
    for step in ("20", "10"):
        for file in (copy / "checkpoints" / step / "state").rglob("*"):
            if file.is_file():
                file.write_bytes(b"")
        if step == "20":
            assert open_weights(copy).origin.endswith("step 10")
            assert "checkpoints/20: no whole checkpoint" in capsys.readouterr().out
    with pytest.raises(UserError, match="checkpoints/20: no whole checkpoint"):
        open_weights(copy)
    with pytest.raises(UserError, match="neither the folder of a run with checkpoints"):
        open_weights(tmp_path)


def test_a_run_on_text_is_no_run_on_images(trained_run, tmp_path):
    copy = shutil.copytree(trained_run, tmp_path / "copy")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"task": "masked_lm"}))
    with pytest.raises(UserError, match="a run of masked_lm; image_classification is needed"):
        open_weights(copy)


def test_a_run_goes_before_what_was_exported_into_its_folder(trained_run, tmp_path):
    copy = shutil.copytree(trained_run, tmp_path / "copy")
    write_weight_file(copy / "model.safetensors", to_timm("MixerBlock", tiny_arrays()))
    assert "step 20" in open_weights(copy).origin
    (tmp_path / "best").symlink_to(copy / "checkpoints" / "10")
    assert "step 10" in open_weights(tmp_path / "best").origin


@pytest.mark.parametrize(
    "config, expected",
    [
        ({"mean": [0.0] * 3, "std": [1.0] * 3}, ((0.0, 1.0), "timm")),  # Flat: the older form.
        ({"pretrained_cfg": {"interpolation": "bilinear"}}, ((-1.0, 1.0), "resmall_crop")),
        ({"pretrained_cfg": None, "crop_pct": 1.0}, ((-1.0, 1.0), "timm")),
    ],
)
def test_what_timms_configuration_leaves_out_is_as_timm_has_it(tmp_path, config, expected):
    write_weight_file(tmp_path / "model.safetensors", to_timm("MixerBlock", tiny_arrays()))
    (tmp_path / "config.json").write_text(json.dumps(config))
    spec = open_weights(tmp_path).spec
    assert (spec.value_range, spec.eval_preset) == expected


@pytest.mark.parametrize("config", [{"mean": 0.5}, {"mean": ["a"] * 3}, {"std": [0.0] * 3}, []])
def test_a_configuration_that_timm_does_not_write_is_refused(tmp_path, config):
    write_weight_file(tmp_path / "model.safetensors", to_timm("MixerBlock", tiny_arrays()))
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="no configuration as timm writes it"):
        open_weights(tmp_path)


def test_safetensors_hold_torchs_names_axes_and_mark(tmp_path):
    arrays = tiny_arrays()
    write_weight_file(tmp_path / "m.safetensors", to_timm("MixerBlock", arrays))
    there = open_weight_file(tmp_path / "m.safetensors")
    golden = open_weight_file(DATA / "mixer_timm.safetensors")
    assert there.headers.keys() == golden.headers.keys()
    assert there.metadata["format"] == "pt"
    assert there.headers["stem.proj.weight"].shape == (32, 3, 8, 8)
