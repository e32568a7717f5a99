"""The text models: the paper's parameter counts, lengths, pads, BERT's states as input."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlp_core.errors import UserError
from mlp_core.nn.parameters import count, flatten
from mlp_text.models.bert import BertEncoder
from mlp_text.models.gmlp import BERT_FEATURES, GmlpEncoder
from mlp_text.models.registry import create_encoder
from mlp_text.models.text_models import MaskedLm

VOCABULARY = 32_000  # The paper's.

# Blocks and tied embedding, which is what the paper counts: tables 4 and 5.
COUNTS = {
    "tmlp_l18": 58_996_462,
    "tmlp_l36": 101_608_924,
    "tmlp_l72": 186_833_848,
    "tmlp_l144": 357_283_696,
    "gmlp_l36": 102_189_568,
    "amlp_l36": 108_749_020,
    "tmlp_base": 130_072_528,
    "gmlp_base": 142_606_336,
    "amlp_base": 108_790_492,
    "tmlp_large": 365_272_992,
    "amlp_large": 315_626_424,
    "tmlp_xlarge": 940_580_720,
}


def abstract_params(model, length):
    ids = jax.ShapeDtypeStruct((1, length), jnp.int32)
    return flatten(jax.eval_shape(model.init, jax.random.key(0), ids)["params"])


@pytest.mark.parametrize("name, expected", COUNTS.items())
def test_parameter_counts_are_the_papers(name, expected):
    num_blocks = create_encoder(name, VOCABULARY).num_blocks
    encoder = create_encoder(name, VOCABULARY, num_blocks=1)  # The others are like it.
    params = abstract_params(encoder, encoder.max_length)
    block = count({n: leaf for n, leaf in params.items() if n.startswith("GmlpBlock_0/")})
    assert params["word_embeddings/embedding"].size + num_blocks * block == expected


def test_a_whole_model_has_its_blocks_a_norm_segments_and_berts_head():
    encoder = create_encoder("tmlp_l18", VOCABULARY, segments=True)
    segments, norm, head = 2 * 512, 2 * 512, 295_680
    params = abstract_params(MaskedLm(encoder), 128)
    assert count(params) == COUNTS["tmlp_l18"] + segments + norm + head


def small(**fields):
    sizes = dict(vocab_size=50, hidden_dim=16, num_blocks=1, ffn_dim=32, max_length=8)
    return GmlpEncoder(**(sizes | fields))


def trained(encoder, length=8):
    """Parameters whose spatial projections are not next to nothing, as they are at first."""
    params = jax.jit(encoder.init)(jax.random.key(0), jnp.zeros((1, length), jnp.int32))["params"]
    rng = np.random.default_rng(0)
    return {
        "params": jax.tree.map(
            lambda leaf: leaf + 0.3 * rng.standard_normal(leaf.shape).astype(np.float32), params
        )
    }


IDS = np.random.default_rng(1).integers(5, 50, (2, 12)).astype(np.int32)


@pytest.mark.parametrize("length", [3, 12])
def test_tmlp_takes_shorter_and_longer_sequences_than_it_was_trained_on(length):
    encoder = small(spatial_matrix="toeplitz")
    params = trained(encoder)
    ours, there = (jax.jit(encoder.apply)(params, IDS[:, :n]) for n in (length, 8))
    assert ours.shape == (2, length, 16)
    # Beyond the distances that it knows a token changes nothing; else all of them do.
    other = IDS[:, :length].copy()
    other[:, -1] += 1
    moved = np.abs(jax.jit(encoder.apply)(params, other) - ours).max(axis=(0, 2)) > 1e-6
    np.testing.assert_array_equal(moved, np.arange(length) > length - 1 - 8)
    assert length == 8 or np.abs(ours[:, :3] - there[:, :3]).max() > 1e-3  # Others are in reach.


@pytest.mark.parametrize("spatial_matrix", ["full", "toeplitz"])
def test_a_shorter_sequence_equals_one_whose_pads_are_masked(spatial_matrix):
    encoder = small(spatial_matrix=spatial_matrix, mask_pads=True, tiny_attention_dim=4)
    params = trained(encoder)
    mask = (np.arange(8) < 5).astype(np.uint8)[None].repeat(2, 0)
    padded = jax.jit(encoder.apply)(params, IDS[:, :8], mask)[:, :5]
    shorter = jax.jit(encoder.apply)(params, IDS[:, :5])
    np.testing.assert_allclose(shorter, padded, rtol=1e-5, atol=1e-5)


def test_full_matrices_refuse_longer_sequences():
    encoder = small()
    with pytest.raises(UserError, match="12 tokens are more than the 8"):
        encoder.apply(trained(encoder), IDS)


@pytest.mark.parametrize("mask_pads", [False, True])
def test_pads_matter_unless_they_are_masked(mask_pads):
    encoder = small(mask_pads=mask_pads)
    params = trained(encoder)
    mask = (np.arange(8) < 5).astype(np.uint8)[None].repeat(2, 0)
    other = IDS[:, :8].copy()
    other[:, 5:] = 0
    ours, theirs = (jax.jit(encoder.apply)(params, ids, mask)[:, :5] for ids in (IDS[:, :8], other))
    assert (np.abs(ours - theirs).max() == 0) == mask_pads


def test_the_sentences_of_a_pair_are_told_apart_where_there_are_segments():
    for segments in (False, True):
        encoder = small(segments=segments)
        params = trained(encoder)
        types = (np.arange(8) > 3).astype(np.uint8)[None].repeat(2, 0)
        apply = jax.jit(encoder.apply)
        ours, plain = (apply(params, IDS[:, :8], None, t) for t in (types, None))
        assert (np.abs(ours - plain).max() > 1e-3) == segments


@pytest.mark.parametrize("features", BERT_FEATURES)
def test_a_berts_states_take_the_place_of_embeddings(features):
    bert = BertEncoder(50, 8, num_blocks=4, num_heads=2, ffn_dim=16, max_length=16)
    encoder = small(bert=bert, bert_features=features)
    params = trained(encoder)
    names = flatten(params["params"])
    assert not any(name.startswith("word_embeddings") for name in names)
    width = 32 if features == "concat4" else 8
    assert names["project_features/kernel"].shape == (width, 16)
    berts = {"params": params["params"]["bert"]}
    states = jax.jit(functools.partial(bert.apply, all_states=True))(berts, IDS[:, :8])
    expected = {
        "last": states[4],
        "second_last": states[3],
        "sum4": states[1] + states[2] + states[3] + states[4],
        "concat4": jnp.concatenate(states[1:], axis=-1),
    }[features]
    seen = jax.jit(functools.partial(encoder.apply, capture_intermediates=True))(
        params, IDS[:, :8]
    )[1]["intermediates"]
    projected = seen["project_features"]["__call__"][0]
    dense = params["params"]["project_features"]
    np.testing.assert_allclose(
        projected, expected @ dense["kernel"] + dense["bias"][None, None], rtol=1e-4, atol=1e-4
    )


def test_wrong_names_and_fields_are_told():
    with pytest.raises(UserError, match="no text model 'gmlp_l37'"):
        create_encoder("gmlp_l37", 100)
    with pytest.raises(UserError, match="'gmlp' needs hidden_dim"):
        create_encoder("gmlp", 100)
    with pytest.raises(UserError, match="no field 'depth'"):
        create_encoder("gmlp_l18", 100, depth=3)
    with pytest.raises(UserError, match="'gmlp_l18': ffn_dim=3 cannot be split in halves; make"):
        create_encoder("gmlp_l18", 100, ffn_dim=3)
    with pytest.raises(UserError, match="'gmlp_l18': gating: input should be 'split', "):
        create_encoder("gmlp_l18", 100, gating="none")


@pytest.mark.parametrize("name, sizes", [("gmlp", {}), ("bert", {"num_heads": 2})])
def test_gradients_of_frequent_words_add_up_in_bfloat16(name, sizes):
    """A sum of many small numbers stands still in bfloat16."""
    sizes |= dict(hidden_dim=16, num_blocks=1, ffn_dim=32, max_length=8)
    words, segments = np.full((1024, 8), 7), np.ones((1024, 8), np.uint8)
    grads = []
    for dtype in (jnp.float32, jnp.bfloat16):
        encoder = create_encoder(name, 50, **sizes, dtype=dtype)
        encoder = encoder.clone(segments=True) if name == "gmlp" else encoder
        params = jax.jit(encoder.init)(jax.random.key(0), words[:1])["params"]

        def first_channel(params, encoder=encoder):
            return encoder.apply({"params": params}, words, None, segments)[..., 0].mean()

        grads.append(flatten(jax.jit(jax.grad(first_channel))(params)))
    for table in ("word_embeddings/embedding", "token_type_embeddings/embedding"):
        exact, ours = (np.abs(grad[table]).max() for grad in grads)
        assert abs(ours / exact - 1) < 0.05, table
