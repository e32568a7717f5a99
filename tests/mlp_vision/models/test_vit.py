"""ViT: published counts, the logits that timm gives to published arrays, and positions resized."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mlp_vision
from mlp_core.errors import UserError
from mlp_core.nn.parameters import count
from mlp_core.weights.files import write_weight_file
from mlp_vision.models.registry import create_model
from mlp_vision.models.vit import VIT_SIZES
from mlp_vision.tools.export import export
from mlp_vision.weights.loading import expected_params, open_weights
from mlp_vision.weights.pretrained import load_params
from tests.mlp_vision.models.published_baselines import logits_of, pictures, vit_arrays
from tests.mlp_vision.weights.made_weights import made_arrays

# At 1,000 classes and 224 pixels, as timm counts them.
PARAMETER_COUNTS = {
    "ti16": 5_717_416,
    "s32": 22_878_952,
    "s16": 22_050_664,
    "b32": 88_224_232,
    "b16": 86_567_656,
    "l32": 306_535_400,
    "l16": 304_326_632,
    "h14": 632_045_800,
}
TINY_VIT = dict(patch_size=8, hidden_dim=32, num_blocks=2, num_heads=4, mlp_dim=128)
TIMMS_LOGITS = np.array(
    [
        [
            -0.1573271,
            -0.7257938,
            0.3423824,
            -0.7900785,
            -1.3716801,
            -2.2629788,
            -1.0786465,
            -1.1750035,
            0.5612765,
            -0.5749754,
        ],
        [
            -1.4981178,
            -2.4333417,
            0.7125352,
            -0.2362766,
            -2.5774053,
            -0.9696658,
            0.375413,
            -0.9131611,
            1.2935552,
            -1.1037381,
        ],
    ]
)


@pytest.fixture
def published(tmp_path):
    write_weight_file(tmp_path / "vit.npz", vit_arrays())
    return tmp_path / "vit.npz"


def test_every_size_has_its_published_count():
    assert PARAMETER_COUNTS.keys() == VIT_SIZES.keys()
    for size, expected in PARAMETER_COUNTS.items():
        model = create_model(f"vit_{size}", 1000, scan_layers=True)  # As many, sooner counted.
        assert count(expected_params(model, 224)) == expected


def test_published_arrays_give_the_logits_that_timm_gives(published):
    model, params = mlp_vision.load_pretrained(published, model="vit")
    assert (model.num_heads, model.pre_logits) == (4, False)
    logits = logits_of(model, params)
    np.testing.assert_allclose(logits, TIMMS_LOGITS, atol=1e-5)


@pytest.mark.parametrize("numerics", [dict(gelu="erf"), dict(layer_norm_epsilon=1e-3)], ids=str)
def test_other_numerics_miss_them(published, numerics):
    model, params = mlp_vision.load_pretrained(published)
    logits = logits_of(model.clone(**numerics), params)
    assert np.abs(logits - TIMMS_LOGITS).max() > 2e-5


def test_a_model_comes_back_from_npz_as_it_went_out(published, tmp_path):
    weights = open_weights(published)
    export(weights, weights.spec, tmp_path / "again.npz")
    again = open_weights(tmp_path / "again.npz")
    assert again.spec == weights.spec
    for name, array in weights.read().items():
        np.testing.assert_array_equal(again.read()[name], array)
    with pytest.raises(UserError, match="ViT is not written in timm's form"):
        export(weights, weights.spec, tmp_path / "timm.safetensors")


def test_positions_are_interpolated_between_corners_that_stay(published):
    _, params = mlp_vision.load_pretrained(published)
    model, larger = mlp_vision.load_pretrained(published, image_size=56)
    before = params["position_embedding"][0, 1:].reshape(4, 4, 32)
    after = larger["position_embedding"][0, 1:].reshape(7, 7, 32)
    np.testing.assert_allclose(after[::2, ::2], before, atol=1e-6)  # 7 places: 0, 0.5, 1 ... 3.
    np.testing.assert_allclose(after[3, 3], before[1:3, 1:3].mean((0, 1)), atol=1e-6)
    assert np.array_equal(larger["position_embedding"][0, 0], params["position_embedding"][0, 0])
    logits = model.apply({"params": larger}, jnp.zeros((1, 56, 56, 3)))
    assert logits.shape == (1, 10)


def test_a_layer_before_the_head_is_told_by_its_arrays(tmp_path):
    arrays = made_arrays("vit", 10, 32, **TINY_VIT, pre_logits=True)
    write_weight_file(tmp_path / "vit.npz", arrays)
    weights = open_weights(tmp_path / "vit.npz")
    assert weights.spec.pre_logits
    model, params = mlp_vision.load_pretrained(tmp_path / "vit.npz", num_classes=0)
    features = logits_of(model, params)
    assert np.abs(features).max() <= 1


def test_a_new_head_may_do_without_the_layer_before_the_old_one(tmp_path, capsys):
    arrays = made_arrays("vit", 10, 32, **TINY_VIT, pre_logits=True)
    write_weight_file(tmp_path / "vit.npz", arrays)
    weights = open_weights(tmp_path / "vit.npz")
    wanted = dataclasses.replace(weights.spec, pre_logits=False, num_classes=0)
    features = logits_of(wanted.create_model(), load_params(weights, wanted, "auto"))
    assert "without its head of 10 classes, without its pre_logits" in capsys.readouterr().out
    with_layer, params = mlp_vision.load_pretrained(tmp_path / "vit.npz", num_classes=0)
    layer = params["pre_logits"]
    np.testing.assert_allclose(
        np.tanh(np.asarray(features) @ layer["kernel"] + layer["bias"]),
        logits_of(with_layer, params),
        atol=1e-5,
    )
    with pytest.raises(UserError, match="it needs a model with pre_logits=True"):
        load_params(weights, dataclasses.replace(wanted, num_classes=10), "auto")


def test_dropout_and_stochastic_depth_act_in_training_only(published):
    model, params = mlp_vision.load_pretrained(published)
    plain = logits_of(model, params)
    for rate in (dict(dropout_rate=0.5), dict(stochastic_depth=0.9)):
        other = model.clone(**rate)
        assert np.array_equal(logits_of(other, params), plain)
        apply = jax.jit(functools.partial(other.apply, train=True))
        trained = apply({"params": params}, pictures(), rngs={"dropout": jax.random.key(0)})
        assert not np.allclose(trained, plain, atol=1e-3)


def test_heads_that_do_not_divide_the_channels_are_refused():
    model = create_model("vit", 10, **(TINY_VIT | dict(num_heads=5)))
    with pytest.raises(UserError, match="hidden_dim=32 cannot be split into 5 heads"):
        expected_params(model, 32)


def test_a_size_of_another_model_is_named(published):
    weights = open_weights(published)
    with pytest.raises(UserError, match="holds ViT, not mixer"):
        mlp_vision.load_pretrained(published, model="mixer")
    assert dataclasses.asdict(weights.spec)["architecture"] == "vit"
