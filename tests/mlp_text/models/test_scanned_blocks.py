"""Text models whose blocks are scanned: the same answers, and runs that change their layout."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlp_core.checkpoints.save import SavedParams
from mlp_core.errors import UserError
from mlp_core.nn.stack import stack_blocks
from mlp_text.models.bert import BertEncoder
from mlp_text.models.gmlp import GmlpEncoder
from mlp_text.models.text_models import MaskedLm
from mlp_text.tasks import experiment
from mlp_text.weights.loading import open_text_weights
from tests.mlp_text.tasks.test_experiment import on_bert, with_vocabulary
from tests.mlp_text.weights.golden_bert import golden_folder
from tests.mlp_text.weights.tiny_bert import IDS, MASK, params_of
from tests.mlp_text.weights.tiny_bert import TINY as TINY_BERT

pytestmark = pytest.mark.slow  # Two runs on a BERT are trained for it.


def config_of(bert, scanned):
    """Four steps of a gMLP of two blocks on a frozen BERT; can be gone on with from the second."""
    config = on_bert(bert)
    config.model.num_blocks = 2
    config.model.update(dropout_rate=0.0, attention_dropout_rate=0.0, head_dropout_rate=0.0)
    config.train.scan_layers = scanned
    config.train.remat = "dots" if scanned else "none"
    return config


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return with_vocabulary(golden_folder(tmp_path_factory.mktemp("bert") / "bert"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory, bert):
    """The folders of a run without and one with scanned blocks, and what each measured."""
    folders = [tmp_path_factory.mktemp("runs") / name for name in ("single", "scanned")]
    results = [
        experiment.train(config_of(bert, scanned), folder)
        for scanned, folder in zip((False, True), folders, strict=True)
    ]
    return folders, results


def saved(workdir):
    return SavedParams(workdir / "checkpoints" / "4").read()


def assert_same_end(here, expected):
    assert here.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(here[name], expected[name], atol=1e-5, err_msg=name)


def test_a_scanned_gmlp_on_a_scanned_bert_learns_what_others_do(runs, bert):
    folders, results = runs
    assert results[1] == pytest.approx(results[0], rel=1e-4)
    expected, here = (saved(folder) for folder in folders)
    assert_same_end(here, expected)
    published = open_text_weights(bert).read()
    frozen = "encoder/bert/BertBlock_1/project_in/kernel"
    np.testing.assert_array_equal(here[frozen], published[frozen.replace("bert/", "")])
    table = (folders[1] / "parameters.txt").read_text()
    assert "encoder/GmlpBlocks/" in table and "encoder/bert/BertBlocks/" in table


@pytest.mark.parametrize("scanned", [False, True])
def test_a_run_with_frozen_blocks_goes_on_in_the_other_layout(runs, bert, tmp_path, scanned):
    folders, results = runs
    shutil.copytree(folders[not scanned], tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "4")
    here = experiment.train(config_of(bert, scanned), tmp_path / "run")
    assert here == pytest.approx(results[scanned], rel=1e-4)
    assert_same_end(saved(tmp_path / "run"), saved(folders[scanned]))


def test_a_scanned_run_starts_another(runs, bert, tmp_path):
    config = config_of(bert, scanned=True)
    config.init.weights, config.bert.weights = str(runs[0][1]), None
    params = experiment.prepare(config, tmp_path / "run").task.published_params()
    kernel = params["encoder"]["GmlpBlock_1"]["project_in"]["kernel"]
    np.testing.assert_array_equal(
        kernel, saved(runs[0][1])["encoder/GmlpBlock_1/project_in/kernel"]
    )


def test_rate_factors_of_single_blocks_are_refused_where_they_are_scanned(bert, tmp_path):
    config = config_of(bert, scanned=True)
    config.optimizer.rate_factors = ("encoder/GmlpBlock_0/.*=0.1",)
    with pytest.raises(UserError, match="rate_factors: 'encoder/GmlpBlock_0.*scan_layers=False"):
        experiment.prepare(config, tmp_path / "run")


GMLP = dict(vocab_size=50, hidden_dim=16, num_blocks=2, ffn_dim=32, max_length=12, segments=True)
MODELS = {
    "bert": lambda **form: BertEncoder(**TINY_BERT, **form),
    "tmlp": lambda **form: GmlpEncoder(**GMLP, spatial_matrix="toeplitz", mask_pads=True, **form),
    "amlp, masked words": lambda **form: MaskedLm(
        GmlpEncoder(**GMLP, tiny_attention_dim=8, mask_pads=True, **form)
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_scanned_models_give_the_same_answer_with_pads_and_segments(name):
    single, scanned = MODELS[name](), MODELS[name](scan_layers=True, remat="dots")
    variables = params_of(single)
    inputs = jnp.asarray(IDS), jnp.asarray(MASK), jnp.asarray(IDS % 2)
    expected = jax.jit(single.apply)(variables, *inputs)
    here = jax.jit(scanned.apply)(stack_blocks(variables), *inputs)
    np.testing.assert_allclose(here, expected, rtol=1e-4, atol=1e-4)
    shapes = jax.eval_shape(scanned.init, jax.random.key(0), IDS)
    assert jax.tree.map(jnp.shape, stack_blocks(variables)) == jax.tree.map(jnp.shape, shapes)
