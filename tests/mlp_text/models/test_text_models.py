"""Heads on an encoder: tied words, prediction slots, pooling."""

import jax
import jax.numpy as jnp
import numpy as np

from mlp_text.models.text_models import ClassificationHead, MaskedLm, MaskedLmHead, TextClassifier
from tests.mlp_text.weights.tiny_bert import ENCODER, IDS, MASK, params_of

STATES = np.random.default_rng(0).normal(size=(3, 12, 32)).astype(np.float32)


def test_logits_at_prediction_slots_are_those_of_their_positions():
    model = MaskedLm(ENCODER)
    params = params_of(model)
    positions = np.array([[0, 11, 3], [6, 6, 0], [0, 0, 0]])
    everywhere = model.apply(params, IDS, MASK)
    assert everywhere.shape == (3, 12, 50) and everywhere.dtype == jnp.float32
    slots = model.apply(params, IDS, MASK, None, positions)
    expected = np.take_along_axis(np.asarray(everywhere), positions[:, :, None], axis=1)
    np.testing.assert_allclose(slots, expected, atol=1e-5)


def test_the_table_of_words_is_shared_with_the_encoder():
    model = MaskedLm(ENCODER)
    params = params_of(model)["params"]
    assert params.keys() == {"encoder", "head"}
    assert params["head"].keys() == {"transform", "norm", "bias"}
    word = 0  # Which no text has.
    table = params["encoder"]["word_embeddings"]["embedding"]
    changed_table = table + np.eye(50, 1, -word, np.float32)
    encoder = params["encoder"] | {"word_embeddings": {"embedding": changed_table}}
    before = model.apply({"params": params}, IDS)
    after = model.apply({"params": params | {"encoder": encoder}}, IDS)
    changed = np.abs(after - before).max(axis=(0, 1)) > 1e-6
    assert changed[word] and changed.sum() == 1


def test_head_of_masked_words_takes_its_gelu_and_epsilon_from_fields():
    states, table = jnp.linspace(-2, 2, 2 * 32).reshape(2, 32), jnp.eye(40, 32)
    params = MaskedLmHead().init(jax.random.key(0), states, table)
    logits = MaskedLmHead().apply(params, states, table)
    assert logits.shape == (2, 40)
    for other in (MaskedLmHead(gelu="tanh"), MaskedLmHead(layer_norm_epsilon=1e-3)):
        assert np.abs(other.apply(params, states, table) - logits).max() > 1e-5


def test_logits_are_float32_in_bfloat16_too():
    masked_lm = MaskedLm(ENCODER.clone(dtype=jnp.bfloat16), dtype=jnp.bfloat16)
    params = params_of(masked_lm)
    logits = masked_lm.apply(params, IDS, MASK)
    assert logits.dtype == jnp.float32
    np.testing.assert_allclose(logits, MaskedLm(ENCODER).apply(params, IDS, MASK), atol=0.5)
    classifier = TextClassifier(ENCODER.clone(dtype=jnp.bfloat16), 3)
    assert classifier.apply(params_of(classifier), IDS, MASK).dtype == jnp.float32


def test_the_mean_is_over_tokens_that_are_no_pads():
    head = ClassificationHead(32, pooling="mean")
    params = {"classifier": {"kernel": jnp.eye(32), "bias": jnp.zeros(32)}}
    means = head.apply({"params": params}, STATES, MASK)
    expected = [STATES[i, : MASK[i].sum()].mean(axis=0) for i in range(3)]
    np.testing.assert_allclose(means, np.stack(expected), atol=1e-5)
    np.testing.assert_allclose(
        head.apply({"params": params}, STATES), STATES.mean(axis=1), atol=1e-5
    )
    assert np.isfinite(head.apply({"params": params}, STATES, np.zeros_like(MASK))).all()


def test_cls_pooling_looks_at_the_first_token_alone():
    head = ClassificationHead(4)
    params = head.init(jax.random.key(1), STATES)
    assert params["params"].keys() == {"pooler", "classifier"}
    others = np.where(np.arange(12)[:, None] == 0, STATES, 0)
    np.testing.assert_array_equal(head.apply(params, STATES), head.apply(params, others))
    assert np.abs(head.apply(params, STATES) - head.apply(params, -STATES)).max() > 1e-3


def test_dropout_of_the_head_acts_in_training_only():
    params = ClassificationHead(4).init(jax.random.key(1), STATES)
    head = ClassificationHead(4, dropout_rate=0.5)
    evaluated = head.apply(params, STATES)
    np.testing.assert_array_equal(evaluated, ClassificationHead(4).apply(params, STATES))
    trained = head.apply(params, STATES, train=True, rngs={"dropout": jax.random.key(0)})
    assert np.abs(trained - evaluated).max() > 1e-3


def test_a_fresh_classifier_starts_as_berts():
    wide = ClassificationHead(200).init(jax.random.key(0), jnp.zeros((1, 2, 256)))["params"]
    assert abs(np.std(wide["classifier"]["kernel"]) - 0.02) < 0.001
    assert not wide["classifier"]["bias"].any()
