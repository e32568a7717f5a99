"""gMLP's weights go out to files and come back."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

from mlp_core.errors import UserError
from mlp_core.weights.files import open_weight_file, write_weight_file
from mlp_vision.models.gmlp import GmlpSpec
from mlp_vision.models.mixer import MixerSpec
from mlp_vision.models.patch_model_spec import GOOGLE_NUMERICS
from mlp_vision.tools.export import export
from mlp_vision.weights.loading import metadata_of, open_weights, spec_from_json
from mlp_vision.weights.pretrained import load_pretrained
from tests.conftest import ROOT
from tests.mlp_vision.weights.made_weights import TINY, TINY_GMLP, made_arrays, tiny_arrays

GOLDEN = ROOT / "tests" / "data" / "gmlp_timm.safetensors"
FORMS = [
    dict(gating="linear"),
    dict(gating="additive"),
    dict(gating="multiplicative", spatial_matrix="toeplitz"),
    dict(tiny_attention_dim=8),
    dict(pooling="class_token"),
]


def spec_of(**form):
    return GmlpSpec(
        **TINY_GMLP, **form, **GOOGLE_NUMERICS, num_classes=10, image_size=32, output="softmax"
    )


def write(path, **form):
    arrays = made_arrays("gmlp", 10, 32, **TINY_GMLP, **form)
    write_weight_file(path, arrays, metadata_of(spec_of(**form)))
    return path


def test_timms_file_comes_out_again_as_it_went_in(tmp_path, capsys):
    weights = open_weights(GOLDEN)
    export(weights, weights.spec, tmp_path / "again.safetensors")
    theirs, ours = (open_weight_file(p).read() for p in (GOLDEN, tmp_path / "again.safetensors"))
    assert theirs.keys() == ours.keys()
    for name, array in theirs.items():
        np.testing.assert_array_equal(ours[name], array)
    said = capsys.readouterr().out
    assert "block_layer=SpatialGatingBlock, mlp_layer=GatedMlp" in said and "Note" not in said


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_every_form_comes_back_from_npz(tmp_path, form):
    weights = open_weights(write(tmp_path / "gmlp.npz", **form))
    assert weights.spec == spec_of(**form)
    export(weights, weights.spec, tmp_path / "again.npz")
    again = open_weights(tmp_path / "again.npz")
    assert again.spec == weights.spec
    for name, array in weights.read().items():
        np.testing.assert_array_equal(again.read()[name], array)


def test_timm_makes_the_widths_of_the_model_from_the_ratios_it_is_told():
    for hidden_dim in (56, 88, 128):
        for width in range(16, 2000, 16):
            spec = dataclasses.replace(spec_of(), hidden_dim=hidden_dim, ffn_dim=width)
            ratio = float(re.search(r"mlp_ratio=([^,]+),", spec.in_timm())[1])
            assert int(hidden_dim * ratio) == width  # As timm's SpatialGatingBlock computes it.


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_forms_that_timm_lacks_are_not_written_for_it(tmp_path, form):
    weights = open_weights(write(tmp_path / "gmlp.npz", **form))
    with pytest.raises(UserError, match=f"timm has no gMLP with {next(iter(form))}="):
        export(weights, weights.spec, tmp_path / "timm.safetensors")
    assert not (tmp_path / "timm.safetensors").exists()


def test_other_epsilons_than_timms_are_told(tmp_path, capsys):
    weights = open_weights(write(tmp_path / "gmlp.npz"))
    export(weights, weights.spec, tmp_path / "timm.safetensors")
    note = "timm computes with gate_layer_norm_epsilon=1e-05, this model 1e-06"
    assert note in capsys.readouterr().out


def test_sizes_are_told_by_the_arrays_where_nothing_describes_them(tmp_path):
    form = dict(spatial_matrix="toeplitz", tiny_attention_dim=8, pooling="class_token")
    write_weight_file(tmp_path / "bare.npz", made_arrays("gmlp", 10, 32, **TINY_GMLP, **form))
    assert open_weights(tmp_path / "bare.npz").spec.sizes == spec_of(**form).sizes


def test_a_gating_that_cannot_be_told_is_refused(tmp_path):
    arrays = made_arrays("gmlp", 10, 32, **TINY_GMLP, gating="additive")
    write_weight_file(tmp_path / "bare.npz", arrays)
    with pytest.raises(UserError, match="not the whole weights of gMLP"):
        open_weights(tmp_path / "bare.npz")


@pytest.mark.parametrize(
    "form, fitting, others",
    [
        ({}, "gmlp", ("tmlp", "amlp")),
        (dict(spatial_matrix="toeplitz"), "tmlp", ("gmlp", "amlp")),
        (dict(tiny_attention_dim=64), "amlp", ("gmlp", "tmlp")),
    ],
)
def test_weights_load_under_the_name_of_their_own_family_alone(tmp_path, form, fitting, others):
    path = write(tmp_path / "gmlp.npz", **form)
    load_pretrained(path, model=fitting)
    for name in others:
        with pytest.raises(UserError, match="it needs a model with (spatial_matrix|tiny_att)"):
            load_pretrained(path, model=name)


def test_a_description_without_an_architecture_is_that_of_a_mixer():
    sizes = TINY | dict(num_classes=10, image_size=32, output="softmax")
    spec = MixerSpec(**sizes, **GOOGLE_NUMERICS)
    older = {n: value for n, value in json.loads(spec.to_json()).items() if n != "architecture"}
    assert spec_from_json(json.dumps(older), Path("model.json")) == spec
    for text in ("[]", "1", '{"architecture": "resmlp"}', '{"architecture": []}'):
        with pytest.raises(UserError, match="does not describe a model of this project"):
            spec_from_json(text, Path("model.json"))


def test_a_description_of_another_architecture_is_refused(tmp_path):
    sizes = TINY | dict(num_classes=10, image_size=32, output="softmax")
    metadata = metadata_of(MixerSpec(**sizes, **GOOGLE_NUMERICS))
    arrays = made_arrays("gmlp", 10, 32, **TINY_GMLP)
    write_weight_file(tmp_path / "odd.npz", arrays, metadata)
    with pytest.raises(UserError, match="description is that of MLP-Mixer"):
        open_weights(tmp_path / "odd.npz")
    write_weight_file(tmp_path / "right.npz", tiny_arrays(), metadata)
    assert open_weights(tmp_path / "right.npz").spec.TITLE == "MLP-Mixer"
