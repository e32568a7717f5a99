"""ResNet: published counts, and the logits that timm gives to published arrays of BiT."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mlp_vision
from mlp_core.errors import UserError
from mlp_core.nn.parameters import count, flatten
from mlp_core.weights.files import write_weight_file
from mlp_vision.models import resnet
from mlp_vision.models.registry import create_model
from mlp_vision.models.resnet import RESNET_SIZES
from mlp_vision.tools.export import export
from mlp_vision.tools.features import activations
from mlp_vision.weights.loading import expected_params, open_weights
from tests.mlp_vision.models.published_baselines import bit_arrays, logits_of, pictures

# At 1,000 classes, as timm counts them.
PARAMETER_COUNTS = {
    "50x1": 25_549_352,
    "50x3": 217_319_080,
    "101x1": 44_541_480,
    "101x3": 387_934_888,
    "152x2": 236_335_208,
    "152x4": 936_533_224,
}
TIMMS_LOGITS = np.array(
    [
        [
            0.7647234,
            0.5307356,
            0.3787575,
            -0.5279139,
            0.4894813,
            0.3313196,
            -0.0481383,
            0.7637848,
            0.0608707,
            -0.6092278,
        ],
        [
            0.532331,
            0.5104938,
            0.29901,
            -0.4728669,
            0.4489409,
            0.3763215,
            -0.1963208,
            0.682317,
            0.2944087,
            -0.5766661,
        ],
    ]
)


@pytest.fixture
def published(tmp_path):
    write_weight_file(tmp_path / "bit.npz", bit_arrays())
    return tmp_path / "bit.npz"


def test_every_size_has_a_published_count():
    assert PARAMETER_COUNTS.keys() == RESNET_SIZES.keys()


DEEP = ("101x1", "101x3", "152x4")  # Traced in some seconds each, and no different.


@pytest.mark.parametrize(
    "size", [pytest.param(s, marks=[pytest.mark.slow] * (s in DEEP)) for s in PARAMETER_COUNTS]
)
def test_parameter_counts_are_the_published_ones(size):
    model = create_model(f"resnet_{size}", 1000)
    assert count(expected_params(model, 64)) == PARAMETER_COUNTS[size]


def test_published_arrays_give_the_logits_that_timm_gives(published):
    model, params = mlp_vision.load_pretrained(published, model="resnet")
    assert (model.units, model.width_factor) == ((2, 1), 1)
    logits = logits_of(model, params)
    np.testing.assert_allclose(logits, TIMMS_LOGITS, atol=1e-5)


@pytest.mark.parametrize("constant, value", [("EPSILON", 0.1), ("NUM_GROUPS", 16)])
def test_other_numbers_miss_them(published, monkeypatch, constant, value):
    model, params = mlp_vision.load_pretrained(published)
    monkeypatch.setattr(resnet, constant, value)
    logits = logits_of(model, params)
    assert np.abs(logits - TIMMS_LOGITS).max() > 1e-4


def test_the_scale_of_a_kernel_makes_no_difference(published):
    model, params = mlp_vision.load_pretrained(published)
    scaled = jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf * 3 + 1 if path[-2].key in ("stem", "conv_b") else leaf, params
    )
    before, after = (logits_of(model, each) for each in (params, scaled))
    np.testing.assert_allclose(after, before, atol=1e-4)


def test_a_model_comes_back_from_npz_as_it_went_out(published, tmp_path):
    weights = open_weights(published)
    export(weights, weights.spec.adapted(image_size=32), tmp_path / "again.npz")
    again = open_weights(tmp_path / "again.npz")
    assert again.spec == weights.spec.adapted(image_size=32)
    for name, array in weights.read().items():
        np.testing.assert_array_equal(again.read()[name], array)


def test_layers_have_the_shapes_that_are_told(published):
    spec = open_weights(published).spec.adapted(image_size=48, num_classes=0)
    model = spec.create_model()
    images = jnp.zeros((1, 48, 48, 3))
    params = jax.eval_shape(model.init, jax.random.key(0), images)["params"]
    modules = {name: layer.module for name, layer in spec.layers.items()}
    given = jax.eval_shape(lambda params: activations(model, params, images, modules), params)
    assert list(spec.layers) == ["stage_1", "stage_2"]
    for name, layer in spec.layers.items():
        assert given[name].shape[1:] == layer.shape
    assert given["pooled"].shape[1:] == (spec.feature_dim,)


def test_a_file_of_half_a_unit_is_refused(tmp_path):
    arrays = bit_arrays()
    del arrays["resnet/block1/unit02/b/standardized_conv2d/kernel"]
    write_weight_file(tmp_path / "bit.npz", arrays)
    with pytest.raises(UserError, match="stage_1_unit_2/conv_b/kernel: missing"):
        open_weights(tmp_path / "bit.npz")


@pytest.mark.slow
def test_every_kernel_learns():
    model = create_model("resnet", 2, units=(1, 1), width_factor=1)
    params = jax.jit(model.init)(jax.random.key(0), pictures())["params"]
    params["head"]["kernel"] = jax.random.normal(jax.random.key(1), (512, 2))
    loss = jax.jit(lambda params: model.apply({"params": params}, pictures())[:, 0].sum())
    gradients = jax.grad(loss)(params)
    for name, gradient in flatten(gradients).items():
        assert name == "head/bias" or np.abs(gradient).max() > 0, name
