"""gMLP for images: published counts, timm's numbers, and what its options change."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mlp_vision
from mlp_core.errors import UserError
from mlp_core.nn.parameters import count, unflatten
from mlp_core.weights.files import open_weight_file
from mlp_vision.models.gmlp import GMLP_SIZES
from mlp_vision.models.registry import create_model
from mlp_vision.weights.loading import expected_params, open_weights
from mlp_vision.weights.pretrained import load_params
from tests.conftest import ROOT
from tests.mlp_vision.weights.made_weights import TINY_GMLP, made_arrays

DATA = ROOT / "tests" / "data"

# At 1000 classes and 224 pixels: with the mean, timm's; with a class token, table 1 of the paper.
PARAMETER_COUNTS = {
    "ti16": (5_867_328, 5.9),
    "s16": (19_422_656, 19.5),
    "b16": (73_075_392, 73.4),
}


def golden():
    example = np.load(DATA / "gmlp_timm_io.npz")
    return open_weights(DATA / "gmlp_timm.safetensors"), example["images"], example["logits"]


def logits(spec, params, images):
    return spec.create_model().apply({"params": params}, images)


def test_every_size_has_published_counts():
    assert PARAMETER_COUNTS.keys() == GMLP_SIZES.keys()


@pytest.mark.parametrize("size", PARAMETER_COUNTS)
def test_parameter_counts_are_the_published_ones(size):
    exact, millions = PARAMETER_COUNTS[size]
    assert count(expected_params(create_model(f"gmlp_{size}", 1000), 224)) == exact
    with_token = create_model(f"gmlp_{size}", 1000, pooling="class_token")
    assert round(count(expected_params(with_token, 224)) / 1e6, 1) == millions


def test_logits_agree_with_timms():
    weights, images, expected = golden()
    params = load_params(weights, weights.spec, head="keep")
    np.testing.assert_allclose(logits(weights.spec, params, images), expected, atol=1e-6)


@pytest.mark.parametrize(
    "field, value",
    [("gelu", "tanh"), ("gate_layer_norm_epsilon", 1e-6), ("layer_norm_epsilon", 1e-4)],
)
def test_other_numerics_miss_timms_logits(field, value):
    weights, images, expected = golden()
    params = load_params(weights, weights.spec, head="keep")
    ours = logits(weights.spec.adapted(**{field: value}), params, images)
    assert np.abs(ours - expected).max() > 5e-6


def test_load_pretrained_gives_the_model_with_timms_numerics():
    _, images, expected = golden()
    model, params = mlp_vision.load_pretrained(DATA / "gmlp_timm.safetensors", model="gmlp")
    np.testing.assert_allclose(model.apply({"params": params}, images), expected, atol=1e-5)
    with pytest.raises(UserError, match="holds gMLP, not mixer_b16"):
        mlp_vision.load_pretrained(DATA / "gmlp_timm.safetensors", model="mixer_b16")


def tiny(**form):
    return create_model("gmlp", 10, **TINY_GMLP, **form)


@pytest.mark.parametrize("spatial_matrix", ["full", "toeplitz"])
@pytest.mark.parametrize("pooling", ["mean", "class_token"])
def test_every_patch_of_the_picture_counts(spatial_matrix, pooling):
    form = dict(spatial_matrix=spatial_matrix, pooling=pooling)
    model = tiny(**form)
    params = {"params": unflatten(made_arrays("gmlp", 10, 32, **TINY_GMLP, **form))}
    images = np.random.default_rng(0).uniform(-1, 1, (1, 32, 32, 3)).astype(np.float32)
    for top in range(0, 32, 8):
        for left in range(0, 32, 8):
            other = images.copy()
            other[:, top : top + 8, left : left + 8] *= -1
            assert np.abs(model.apply(params, images) - model.apply(params, other)).max() > 1e-5


def test_a_fresh_model_has_a_zero_head_and_a_headless_one_gives_features():
    images = np.zeros((2, 32, 32, 3), np.float32)
    params = tiny().init(jax.random.key(0), images)["params"]
    assert not np.any(params["head"]["kernel"])
    del params["head"]
    assert create_model("gmlp", 0, **TINY_GMLP).apply({"params": params}, images).shape == (2, 32)


@pytest.mark.parametrize("pooling", ["mean", "class_token"])
def test_a_fresh_model_learns_to_tell_pictures_apart(pooling):
    model = tiny(pooling=pooling)
    images = jax.random.normal(jax.random.key(1), (20, 32, 32, 3))
    labels = jnp.arange(20) % 10
    params = model.init(jax.random.key(0), images)["params"]
    optimizer = optax.adam(3e-3)

    def loss(params):
        out = model.apply({"params": params}, images)
        return optax.softmax_cross_entropy_with_integer_labels(out, labels).mean()

    @jax.jit
    def step(params, state):
        updates, state = optimizer.update(jax.grad(loss)(params), state)
        return optax.apply_updates(params, updates), state

    state = optimizer.init(params)
    for _ in range(60):
        params, state = step(params, state)
    assert loss(params) < 0.5  # Of 2.3 at first.


def test_an_odd_width_cannot_be_split():
    with pytest.raises(UserError, match="ffn_dim=47 cannot be split"):
        expected_params(create_model("gmlp", 10, **(TINY_GMLP | {"ffn_dim": 47})), 32)
    expected_params(create_model("gmlp", 10, **(TINY_GMLP | {"ffn_dim": 47}), gating="linear"), 32)


@pytest.mark.parametrize(
    "form, message",
    [
        (dict(gating="splitt"), "gating='splitt' is none of split"),
        (dict(spatial_matrix="banded"), "is none of full, toeplitz"),
        (dict(pooling="max"), "is none of mean, class_token"),
        (dict(tokens_mlp_dim=3), "has no field 'tokens_mlp_dim'"),
    ],
)
def test_unknown_forms_are_refused(form, message):
    with pytest.raises(UserError, match=message):
        tiny(**form)


def test_names_of_relatives_settle_their_form():
    assert create_model("tmlp_s16", 10).spatial_matrix == "toeplitz"
    assert create_model("amlp_s16", 10).tiny_attention_dim == 64
    gmlp = create_model("gmlp_s16", 10)
    assert (gmlp.spatial_matrix, gmlp.tiny_attention_dim, gmlp.gating) == ("full", 0, "split")


def test_the_golden_file_has_the_names_that_timm_writes():
    names = open_weight_file(DATA / "gmlp_timm.safetensors").headers
    assert "blocks.0.mlp_channels.gate.proj.weight" in names


@pytest.mark.parametrize("rescaled", [False, True])
def test_stochastic_depth_drops_whole_blocks_of_some_examples(rescaled):
    model = tiny(stochastic_depth=0.5, stochastic_depth_rescaled=rescaled)
    params = {"params": unflatten(made_arrays("gmlp", 10, 32, **TINY_GMLP))}
    image = np.random.default_rng(0).uniform(-1, 1, (1, 32, 32, 3)).astype(np.float32)
    images = np.repeat(image, 64, axis=0)
    train = model.apply(params, images, train=True, rngs={"dropout": jax.random.key(0)})
    assert (
        len(np.unique(np.asarray(train).round(3), axis=0)) == 2
    )  # The first never, the last does.
    whole = np.asarray(model.apply(params, image))
    kept_is_whole = np.isclose(train, whole, atol=1e-4).all(axis=1).any()
    assert kept_is_whole == (not rescaled)


def test_dropout_acts_in_training_only():
    model = tiny(dropout_rate=0.5)
    params = {"params": unflatten(made_arrays("gmlp", 10, 32, **TINY_GMLP))}
    images = np.random.default_rng(0).uniform(-1, 1, (1, 32, 32, 3)).astype(np.float32)
    evaluated = model.apply(params, images)
    np.testing.assert_array_equal(evaluated, tiny().apply(params, images))
    trained = model.apply(params, images, train=True, rngs={"dropout": jax.random.key(0)})
    assert np.abs(trained - evaluated).max() > 1e-3
