"""Weights become models that compute as their origin does, also with another head or length."""

import dataclasses

import jax
import numpy as np
import pytest

import mlp_text
from mlp_core.errors import UserError
from mlp_core.nn.parameters import flatten
from mlp_text.models.model_spec import GmlpEncoderSpec, TextModelSpec
from mlp_text.weights.bert import is_padded
from mlp_text.weights.loading import open_text_weights, spec_for
from mlp_text.weights.pretrained import load_params
from tests.mlp_text.weights.golden_bert import golden_folder, golden_io, with_vocabulary

IDS = np.random.default_rng(0).integers(5, 150, (3, 24))
LENGTHS = np.array([24, 16, 9])
MASK = (np.arange(24)[None, :] < LENGTHS[:, None]).astype(np.uint8)


def changed(spec, head=None, **encoder):
    """The description of a model with another head or other fields of its encoder."""
    spec = dataclasses.replace(spec, encoder=dataclasses.replace(spec.encoder, **encoder))
    return dataclasses.replace(spec, head=head or spec.head)


def states(weights, spec, ids=IDS, mask=None):
    """What the encoder that `spec` describes makes of `ids` with these weights."""
    spec = changed(spec, "none")
    return spec.create_model().apply({"params": load_params(weights, spec)}, ids, mask)


def test_a_bert_gives_the_last_hidden_state_of_transformers(tmp_path):
    model, params = mlp_text.load_pretrained(golden_folder(tmp_path))
    inputs, expected, _ = golden_io()
    np.testing.assert_allclose(model.apply({"params": params}, *inputs), expected, atol=1e-5)


def test_a_bert_with_its_masked_lm_head_gives_their_logits(tmp_path):
    model, params = mlp_text.load_pretrained(golden_folder(tmp_path), head="masked_lm")
    inputs, _, expected = golden_io()
    np.testing.assert_allclose(model.apply({"params": params}, *inputs), expected, atol=1e-5)


def test_a_bert_serves_shorter_sequences_as_well(tmp_path):
    weights = open_text_weights(golden_folder(tmp_path))
    shorter = changed(weights.spec, max_length=20)
    inputs, expected, _ = golden_io()
    model = changed(shorter, "none").create_model()
    params = load_params(weights, changed(shorter, "none"))
    np.testing.assert_allclose(model.apply({"params": params}, *inputs), expected, atol=1e-5)


@pytest.mark.parametrize("told", [120, 114])
def test_padded_rows_of_a_table_are_left_out(tmp_path, told, capsys):
    folder = with_vocabulary(golden_folder(tmp_path, vocab_size=told), size=114)
    weights = open_text_weights(folder)
    spec = spec_for(weights, weights.tokenizer())
    assert (weights.spec.encoder.vocab_size, spec.encoder.vocab_size) == (120, 114)
    ids = IDS[:, :20] % 114
    whole, params = mlp_text.load_pretrained(folder, head="masked_lm")
    expected = whole.apply({"params": params}, ids)[..., :114]
    logits = spec.create_model().apply({"params": load_params(weights, spec)}, ids)
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    assert "(published BERT), without the 6 padded rows of its table\n" in capsys.readouterr().out


@pytest.mark.parametrize("rows, entries", [(30528, 30522), (30592, 30522), (30720, 30522), (8, 2)])
def test_a_table_may_be_padded_to_a_multiple(rows, entries):
    assert is_padded(rows, entries)


@pytest.mark.parametrize(
    "rows, entries",
    [(30522, 28996), (30522, 30521), (120, 119), (21128, 21127), (119547, 30522), (30522, 30528)],
)
def test_a_table_of_another_vocabulary_is_not_taken_for_a_padded_one(rows, entries):
    assert not is_padded(rows, entries)


def test_a_classifier_of_ours_gives_logits_of_its_classes(text_run):
    model, params = mlp_text.load_pretrained(text_run)
    logits = model.apply({"params": params}, IDS[:, :16], MASK[:, :16])
    assert logits.shape == (3, 2)
    encoder, theirs = mlp_text.load_pretrained(text_run, head="none")
    features = encoder.apply({"params": theirs}, IDS[:, :16], MASK[:, :16])
    head = params["head"]["classifier"]
    here = MASK[:, :16, None]
    pooled = (features * here).sum(1) / here.sum(1)
    expected = pooled @ head["kernel"] + head["bias"][None, :]
    np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_a_masked_lm_of_ours_gives_states_or_logits_of_its_vocabulary(mlm_run):
    model, params = mlp_text.load_pretrained(str(mlm_run))
    assert model.apply({"params": params}, IDS).shape == (3, 24, 16)
    model, params = mlp_text.load_pretrained(mlm_run, head="masked_lm")
    assert model.apply({"params": params}, IDS).shape == (3, 24, 300)


def test_a_head_that_is_not_there_is_refused(text_run, tmp_path):
    with pytest.raises(UserError, match="no head for masked_lm; it has classification"):
        mlp_text.load_pretrained(text_run, head="masked_lm")
    with pytest.raises(UserError, match="no head for classification; it has masked_lm"):
        mlp_text.load_pretrained(golden_folder(tmp_path), head="classification")


def test_toeplitz_matrices_made_full_compute_the_same(mlm_run):
    weights = open_text_weights(mlm_run)
    full = changed(weights.spec, spatial_matrix="full")
    params = flatten(load_params(weights, full))
    kernels = [array for name, array in params.items() if name.endswith("spatial/kernel")]
    assert [kernel.shape for kernel in kernels] == [(24, 24)] * 2
    np.testing.assert_allclose(
        states(weights, full), states(weights, weights.spec), rtol=1e-5, atol=1e-6
    )


def test_a_full_matrix_for_fewer_tokens_computes_as_if_the_rest_were_not_there(text_run):
    """Pads are masked, so that rows of few tokens show it."""
    weights = open_text_weights(text_run)
    spec = changed(weights.spec, mask_pads=True)
    ids, mask = IDS[:, :16], (np.arange(16) < 9)[None, :].repeat(3, 0).astype(np.uint8)
    shorter = states(weights, changed(spec, max_length=10), ids[:, :10], mask[:, :10])
    np.testing.assert_allclose(
        shorter[:, :9], states(weights, spec, ids, mask)[:, :9], rtol=1e-5, atol=1e-6
    )


def test_a_toeplitz_vector_for_more_tokens_computes_the_same_of_those_there_were(mlm_run):
    weights = open_text_weights(mlm_run)
    spec = changed(weights.spec, mask_pads=True)
    mask = (np.arange(40) < 24)[None, :].repeat(3, 0).astype(np.uint8)
    ids = np.pad(IDS, ((0, 0), (0, 16)))
    longer = states(weights, changed(spec, max_length=40), ids, mask)
    np.testing.assert_allclose(
        longer[:, :24], states(weights, spec, IDS, mask[:, :24]), rtol=1e-5, atol=1e-6
    )


def test_a_full_matrix_is_not_made_longer(text_run):
    weights = open_text_weights(text_run)
    with pytest.raises(UserError, match="does not fit the model; it needs .*max_length=16"):
        load_params(weights, changed(weights.spec, max_length=32))


def test_another_vocabulary_is_refused(text_run):
    weights = open_text_weights(text_run)
    with pytest.raises(UserError, match="the vocabulary does not match; .* the tokenizer has 400"):
        load_params(weights, changed(weights.spec, vocab_size=400))


def test_a_new_head_is_random_by_the_seed_and_told(mlm_run, capsys):
    weights = open_text_weights(mlm_run)
    spec = dataclasses.replace(
        weights.spec, head="classification", num_classes=3, class_names=("a", "b", "c")
    )
    one, same, other = (flatten(load_params(weights, spec, seed)) for seed in (1, 1, 2))
    assert "a new head of 3 classes" in capsys.readouterr().out
    differ = {name for name in one if not np.array_equal(one[name], other[name])}
    assert differ == {"head/pooler/kernel", "head/classifier/kernel"}
    jax.tree.map(np.testing.assert_array_equal, one, same)


def test_a_new_head_for_masked_words_is_told_too(text_run, capsys):
    load_params(weights := open_text_weights(text_run), changed(weights.spec, "masked_lm"))
    assert "a new head of words" in capsys.readouterr().out


def test_an_embedding_of_segments_is_added_without_changing_anything(mlm_run):
    weights = open_text_weights(mlm_run)
    with_segments = changed(weights.spec, segments=True)
    np.testing.assert_array_equal(states(weights, with_segments), states(weights, weights.spec))


def test_a_bert_goes_below_a_new_gmlp(tmp_path):
    weights = open_text_weights(golden_folder(tmp_path))
    encoder = GmlpEncoderSpec(
        vocab_size=120, hidden_dim=16, num_blocks=1, ffn_dim=32, max_length=20,
        bert=weights.spec.encoder,
    )  # fmt: skip
    params = flatten(load_params(weights, TextModelSpec(encoder=encoder, head="none")))
    theirs = weights.read()
    name = "BertBlock_0/query/kernel"
    np.testing.assert_array_equal(params[f"bert/{name}"], theirs[f"encoder/{name}"])
