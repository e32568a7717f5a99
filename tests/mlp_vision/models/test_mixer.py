import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from mlp_core.errors import UserError
from mlp_core.nn.parameters import count, unflatten
from mlp_vision.models.mixer import MIXER_SIZES, Mixer
from mlp_vision.models.registry import create_model
from tests.conftest import ROOT

# Without head, with 1000 classes, with 21843, with 10; at 224 pixels. MLP-Mixer, tables 1 and 3,
# counted on the released module.
PARAMETER_COUNTS = {
    "s32": (18_591_624, 19_104_624, 29_797_083, 18_596_754),
    "s16": (18_015_264, 18_528_264, 29_220_723, 18_020_394),
    "s8": (20_133_504, 20_646_504, None, None),
    "b32": (59_524_428, 60_293_428, 76_321_695, 59_532_118),
    "b16": (59_111_472, 59_880_472, 75_908_739, 59_119_162),
    "l32": (205_914_264, 206_939_264, 228_303_339, 205_924_514),
    "l16": (207_171_168, 208_196_168, 229_560_243, 207_181_418),
    "h14": (431_069_952, 432_350_952, 459_050_835, 431_082_762),
}


def abstract_params(model, image_size=224):
    images = jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.float32)
    return jax.eval_shape(model.init, jax.random.key(0), images)["params"]


def test_every_size_has_published_counts():
    assert PARAMETER_COUNTS.keys() == MIXER_SIZES.keys()


@pytest.mark.parametrize("size", PARAMETER_COUNTS)
@pytest.mark.parametrize("column, num_classes", list(enumerate([0, 1000, 21843, 10])))
def test_parameter_counts_are_the_published_ones(size, column, num_classes):
    expected = PARAMETER_COUNTS[size][column]
    if expected is not None:
        model = create_model(f"mixer_{size}", num_classes, scan_layers=True)  # Traced sooner.
        assert count(abstract_params(model)) == expected


def small_mixer(**fields):
    sizes = dict(patch_size=8, hidden_dim=32, num_blocks=2, tokens_mlp_dim=24, channels_mlp_dim=64)
    return Mixer(**(dict(num_classes=10) | sizes | fields))


@pytest.fixture(scope="module")
def official():
    """Random weights in the published layout, three images, and the released module's logits."""
    weights = dict(np.load(ROOT / "tests/data/mixer_official.npz"))
    example = np.load(ROOT / "tests/data/mixer_official_io.npz")
    return weights, example["images"], example["logits"]


def test_logits_agree_with_the_released_module(official):
    weights, images, logits = official
    ours = small_mixer().apply({"params": unflatten(weights)}, images)
    np.testing.assert_allclose(ours, logits, atol=1e-5)


@pytest.mark.parametrize("fields", [dict(gelu="erf"), dict(layer_norm_epsilon=1e-3)])
def test_another_gelu_or_epsilon_misses_the_released_logits(official, fields):
    weights, images, logits = official
    ours = small_mixer(**fields).apply({"params": unflatten(weights)}, images)
    assert np.abs(ours - logits).max() > 1e-5


@pytest.mark.parametrize("gelu", ["tanh", "erf"])
def test_forward_pass_equals_one_written_in_numpy(official, gelu):
    weights, images, _ = official
    ours = small_mixer(gelu=gelu).apply({"params": unflatten(weights)}, images)
    np.testing.assert_allclose(ours, numpy_mixer(weights, images, gelu), atol=1e-5)


def numpy_mixer(w, images, gelu_form):
    """MLP-Mixer, equation 1, in float64, from arrays under their published names."""
    w = {name: array.astype(np.float64) for name, array in w.items()}

    def norm(x, name):
        mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        return (x - mean) / np.sqrt(variance + 1e-6) * w[f"{name}/scale"] + w[f"{name}/bias"]

    def gelu(x):
        if gelu_form == "erf":
            return x * (1 + erf(x / np.sqrt(2))) / 2
        return x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2

    def dense(x, name):
        return x @ w[f"{name}/kernel"] + w[f"{name}/bias"]

    def mlp(x, name):
        return dense(gelu(dense(x, f"{name}/Dense_0")), f"{name}/Dense_1")

    patch, side = w["stem/kernel"].shape[0], images.shape[1]
    grid = side // patch
    patches = images.reshape(len(images), grid, patch, grid, patch, 3).swapaxes(2, 3)
    patches = patches.reshape(len(images), grid * grid, -1)
    x = patches @ w["stem/kernel"].reshape(patch * patch * 3, -1) + w["stem/bias"]
    for i in range(2):
        block = f"MixerBlock_{i}"
        y = norm(x, f"{block}/LayerNorm_0").swapaxes(1, 2)
        x = x + mlp(y, f"{block}/token_mixing").swapaxes(1, 2)
        x = x + mlp(norm(x, f"{block}/LayerNorm_1"), f"{block}/channel_mixing")
    return dense(norm(x, "pre_head_layer_norm").mean(1), "head")


def test_headless_model_gives_the_features_under_the_head(official):
    weights, images, logits = official
    body = {name: array for name, array in weights.items() if not name.startswith("head/")}
    features = small_mixer(num_classes=0).apply({"params": unflatten(body)}, images)
    assert features.shape == (3, 32)
    again = np.asarray(features) @ weights["head/kernel"] + weights["head/bias"]
    np.testing.assert_allclose(again, logits, atol=1e-5)


def test_bfloat16_arithmetic_keeps_float32_parameters_and_logits(official):
    weights, images, logits = official
    model = small_mixer(dtype=jnp.bfloat16)
    params = model.init(jax.random.key(0), images)["params"]
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    ours = model.apply({"params": unflatten(weights)}, images)
    assert ours.dtype == jnp.float32
    np.testing.assert_allclose(ours, logits, atol=0.1)
    assert np.abs(ours - logits).max() > 1e-5


def test_fresh_model_has_a_zero_head():
    params = small_mixer().init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))["params"]
    assert not params["head"]["kernel"].any()
    assert params["stem"]["kernel"].any()


def test_stochastic_depth_drops_whole_branches_of_some_examples_without_rescaling():
    model = small_mixer(num_classes=0, stochastic_depth=0.5, num_blocks=2)
    images = jax.random.normal(jax.random.key(1), (1, 32, 32, 3)).repeat(64, axis=0)
    params = model.init(jax.random.key(0), images)["params"]

    def features(train):
        rngs = {"dropout": jax.random.key(2)}
        return np.asarray(model.apply({"params": params}, images, train=train, rngs=rngs))

    assert len(np.unique(features(train=False).round(4), axis=0)) == 1
    # The first block never drops; the second drops none, one or both of its branches.
    kinds, numbers = np.unique(features(train=True).round(4), axis=0, return_counts=True)
    assert len(kinds) == 4 and numbers.min() >= 6
    whole = features(train=False)[0].round(4)
    assert any(np.allclose(kind, whole, atol=1e-3) for kind in kinds)


def test_dropout_acts_in_training_only():
    model = small_mixer(num_classes=0, dropout_rate=0.5)
    images = jax.random.normal(jax.random.key(1), (2, 32, 32, 3))
    params = model.init(jax.random.key(0), images)["params"]

    def features(train, key):
        rngs = {"dropout": jax.random.key(key)}
        return model.apply({"params": params}, images, train=train, rngs=rngs)

    np.testing.assert_array_equal(features(False, 0), features(False, 1))
    assert np.abs(features(True, 0) - features(True, 1)).max() > 0.01


def test_patch_size_that_does_not_divide_the_image_is_refused():
    with pytest.raises(UserError, match="patches of 16 pixels do not divide images of 225 x 225"):
        abstract_params(create_model("mixer_b16", 10), image_size=225)


def test_fields_can_be_overridden_and_wrong_names_are_refused():
    model = create_model("mixer_s16", num_classes=7, patch_size=8, num_blocks=1)
    assert (model.patch_size, model.num_blocks, model.hidden_dim) == (8, 1, 512)
    with pytest.raises(UserError, match="no model 'mixer_xl'"):
        create_model("mixer_xl", 10)
    with pytest.raises(UserError, match="no field 'depth'"):
        create_model("mixer_s16", 10, depth=3)
    with pytest.raises(UserError, match="gelu='relu' is none of tanh, erf"):
        create_model("mixer_s16", 10, gelu="relu")
    with pytest.raises(UserError, match="needs patch_size"):
        create_model("mixer", 10)


def test_hidden_units_of_channel_mixing_are_kept_apart_in_evaluation_only():
    model, images = small_mixer(), jnp.zeros((1, 32, 32, 3))
    params = model.init(jax.random.key(0), images)

    def barriers(train):
        step = jax.jit(lambda images: model.apply(params, images, train=train))
        program = step.trace(images).lower(lowering_platforms=("tpu",))
        return program.as_text().count("optimization_barrier")

    assert (barriers(train=False), barriers(train=True)) == (model.num_blocks, 0)
    gradient = jax.grad(lambda images: model.apply(params, images).sum())(images)
    assert gradient.shape == images.shape
