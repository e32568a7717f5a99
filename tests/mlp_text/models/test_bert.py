"""BERT's encoder: published counts, and what masks, segments, dropout and precision change."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlp_core.errors import UserError
from mlp_core.nn.parameters import count
from mlp_text.models.bert import BertEncoder
from mlp_text.models.text_models import MaskedLm, TextClassifier
from tests.mlp_text.weights.tiny_bert import ENCODER, IDS, MASK, TINY, params_of

BASE = dict(
    vocab_size=30_522, hidden_dim=768, num_blocks=12, num_heads=12, ffn_dim=3072, max_length=512
)
PARAMS = params_of(ENCODER)
encode = functools.partial(jax.jit(ENCODER.apply), PARAMS)


def shapes_of(model):
    ids = jax.ShapeDtypeStruct((1, 8), jnp.int32)
    return jax.eval_shape(model.init, jax.random.key(0), ids)["params"]


def test_parameter_counts_of_bert_base_are_the_published_ones():
    encoder = BertEncoder(**BASE)
    assert count(shapes_of(encoder)) == 108_891_648
    assert count(shapes_of(MaskedLm(encoder))) == 109_514_298
    classifier = shapes_of(TextClassifier(encoder, 2))
    assert count(classifier["encoder"]) + count(classifier["head"]["pooler"]) == 109_482_240


def test_pads_change_nothing_for_the_other_tokens():
    states = encode(IDS, MASK)
    others = encode(np.where(MASK, IDS, 49 - IDS), MASK)
    changed = np.abs(states - others).max(axis=-1) > 1e-6
    np.testing.assert_array_equal(changed, MASK == 0)
    alone = encode(IDS[1:2, :7])
    np.testing.assert_allclose(states[1, :7], alone[0], atol=1e-5)


def test_every_token_reaches_every_position():
    states = encode(IDS)
    for position in range(IDS.shape[1]):
        other = IDS.copy()
        other[:, position] = 49 - other[:, position]
        assert (np.abs(encode(other) - states).max(axis=-1) > 1e-5).all()


def test_a_text_of_pads_alone_stays_finite():
    assert np.isfinite(encode(IDS, np.zeros_like(MASK))).all()


def test_without_mask_and_segments_all_is_text_of_the_first_segment():
    states = encode(IDS)
    same = encode(IDS, np.ones_like(IDS), np.zeros_like(IDS))
    np.testing.assert_allclose(states, same, atol=1e-6)
    second = encode(IDS, None, np.ones_like(IDS))
    assert np.abs(states - second).max() > 1e-2


def test_all_states_are_the_embeddings_and_each_block():
    states = ENCODER.apply(PARAMS, IDS, MASK, all_states=True)
    assert [state.shape for state in states] == [(3, 12, 32)] * 3
    for blocks, state in enumerate(states):
        shallow = ENCODER.clone(num_blocks=blocks)
        np.testing.assert_array_equal(state, shallow.apply(PARAMS, IDS, MASK))


@pytest.mark.parametrize("field", ["dropout_rate", "attention_dropout_rate"])
def test_dropout_acts_in_training_only(field):
    dropping = ENCODER.clone(**{field: 0.5})
    evaluated = ENCODER.apply(PARAMS, IDS, MASK)
    np.testing.assert_array_equal(dropping.apply(PARAMS, IDS, MASK), evaluated)
    first, again, other = (
        dropping.apply(PARAMS, IDS, MASK, train=True, rngs={"dropout": jax.random.key(key)})
        for key in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1 and np.abs(first - evaluated).max() > 0.1


def test_bfloat16_stays_near_float32():
    half = ENCODER.clone(dtype=jnp.bfloat16)
    states = half.apply(PARAMS, IDS, MASK)
    assert states.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes_of(half))} == {jnp.dtype("float32")}
    np.testing.assert_allclose(states.astype(np.float32), encode(IDS, MASK), atol=0.15)


def test_more_tokens_than_positions_are_refused():
    with pytest.raises(UserError, match="17 tokens are too many for a BERT with 16 positions"):
        encode(np.ones((1, 17), np.int32))


def test_heads_must_divide_the_channels():
    with pytest.raises(UserError, match="num_heads=5 does not divide hidden_dim=32"):
        shapes_of(BertEncoder(**(TINY | {"num_heads": 5})))
