"""Figures of text models show their weights, and where their attention looks."""

import jax.numpy as jnp
import numpy as np
import pytest

from mlp_core.errors import UserError
from mlp_core.nn.spatial_gating import toeplitz_matrix
from mlp_text import load_pretrained, open_tokenizer
from mlp_text.tasks import experiment
from mlp_text.tools import figures
from tests.mlp_text.tasks.tiny_experiments import tiny_classification
from tests.mlp_text.weights.golden_bert import golden_folder


@pytest.fixture(scope="module")
def amlp_run(tmp_path_factory, made_files):
    workdir = tmp_path_factory.mktemp("amlp_run")
    config = tiny_classification(made_files)
    config.model.name, config.model.tiny_attention_dim = "amlp", 8
    config.train.duration = config.evaluation.every = config.checkpoint.every = "2 steps"
    config.schedule.warmup = "1 steps"
    experiment.train(config, workdir)
    return workdir


def drawn(figure, panel):
    return np.asarray(figure.axes[panel].images[0].get_array())


def test_spatial_matrices_are_drawn_whole_with_zero_in_the_middle(text_run, mlm_run):
    _, params = load_pretrained(text_run, head="none")
    figure = figures.spatial_matrices(text_run)
    kernel = params["GmlpBlock_1"]["gating"]["spatial"]["kernel"]
    assert np.array_equal(drawn(figure, 1), kernel) and kernel.ndim == 2
    low, high = figure.axes[1].images[0].get_clim()
    assert -low == high == pytest.approx(np.abs(kernel).max())
    _, params = load_pretrained(mlm_run)
    vector = jnp.asarray(params["GmlpBlock_0"]["gating"]["spatial"]["kernel"])
    assert np.array_equal(drawn(figures.spatial_matrices(mlm_run), 0), toeplitz_matrix(vector))


def test_bands_have_a_row_a_block_and_a_column_a_distance(mlm_run):
    _, params = load_pretrained(mlm_run)
    figure = figures.toeplitz_bands(mlm_run)
    for block in (0, 1):
        vector = params[f"GmlpBlock_{block}"]["gating"]["spatial"]["kernel"]
        assert np.allclose(drawn(figure, 0)[block], vector / np.abs(vector).max())
    assert figure.axes[0].images[0].get_extent() == [-23.5, 23.5, 1.5, -0.5]


def test_attention_is_drawn_token_by_token(amlp_run):
    figure = figures.attention_maps(amlp_run, "good or bad", blocks=[1])
    inputs = open_tokenizer(amlp_run).encode(["good or bad"], max_length=16)
    tokens = open_tokenizer(amlp_run).tokens(inputs["input_ids"][0])
    length = int(inputs["attention_mask"].sum())
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == tokens[:length]
    assert axes.get_title() == f"block 1, up to {drawn(figure, 0).max():.2g}"
    model, params = load_pretrained(amlp_run, head="none")
    _, seen = model.apply(
        {"params": params}, **inputs, capture_intermediates=True, mutable=["intermediates"]
    )
    block = seen["intermediates"]["GmlpBlock_1"]
    q, k, _ = jnp.split(block["tiny_attention"]["qkv"]["__call__"][0][0], 3, axis=-1)
    scores = jnp.exp(q @ k.T / 8**0.5)  # [S, S], pads included as in training.
    wanted = scores / scores.sum(1, keepdims=True)
    assert np.allclose(drawn(figure, 0), wanted[:length, :length], atol=1e-5)


def test_words_of_a_long_sentence_do_not_overlap(amlp_run):
    figure = figures.attention_maps(amlp_run, "good " * 14, blocks=[0, 1, 0])
    figure.draw_without_rendering()
    for axes in figure.axes:
        boxes = [label.get_window_extent() for label in axes.get_yticklabels()]
        assert len(boxes) == 16
        assert all(upper.y0 >= lower.y1 - 1 for upper, lower in zip(boxes, boxes[1:], strict=False))


def test_what_is_not_there_is_told(text_run, amlp_run, tmp_path):
    with pytest.raises(UserError, match="no tiny attention"):
        figures.attention_maps(text_run, "good")
    with pytest.raises(UserError, match="longer than the 16 tokens"):
        figures.attention_maps(amlp_run, "good " * 40)
    with pytest.raises(UserError, match="the text is empty"):
        figures.attention_maps(amlp_run, " ")
    with pytest.raises(UserError, match="no block 7; name some of 0 to 1"):
        figures.attention_maps(amlp_run, "good", blocks=[7])
    with pytest.raises(UserError, match="full, not Toeplitz"):
        figures.toeplitz_bands(text_run)
    with pytest.raises(UserError, match="this is a BERT"):
        figures.spatial_matrices(golden_folder(tmp_path))
