"""Image models whose blocks are scanned: the same answers, and runs that change their layout."""

import shutil

import jax
import numpy as np
import pytest

from mlp_core.checkpoints.save import SavedParams
from mlp_core.nn.parameters import flatten
from mlp_core.nn.stack import stack_blocks
from mlp_vision.tasks import experiment
from mlp_vision.tools.export import export
from mlp_vision.tools.scoring import score
from mlp_vision.weights.loading import expected_params, open_weights
from mlp_vision.weights.pretrained import load_params
from tests.configs.config_files import load
from tests.conftest import ROOT

DATA = ROOT / "tests" / "data"


def config_of(data_dir, start, scanned):
    """Four steps from the weights `start` that can be gone on with from the second."""
    config = load(ROOT / "configs" / "mixer_digits.py", "smoke")
    config.data.data_dir = data_dir
    config.init.weights = str(start)
    config.data.image_size, config.model.patch_size = 32, 8
    config.train.update(duration="4 steps", ema_decay=0.5, scan_layers=scanned)
    config.train.remat = "blocks" if scanned else "none"
    config.model.update(dropout_rate=0.0, stochastic_depth=0.0)  # Layouts draw differently.
    # Adam's steps are as large where a gradient is nothing but rounding errors.
    config.optimizer.update(name="sgd", weight_decay=0.0)
    config.schedule.peak_learning_rate = 0.1
    config.evaluation.every = config.checkpoint.every = "2 steps"
    return config


def saved(workdir):
    return SavedParams(workdir / "checkpoints" / "4").read()


@pytest.fixture(scope="module")
def runs(tmp_path_factory, data_dir, trained_run):
    """The folders of a run without and one with scanned blocks, and what each measured."""
    folders = [tmp_path_factory.mktemp("runs") / name for name in ("single", "scanned")]
    results = [
        experiment.train(config_of(data_dir, trained_run, scanned), folder)
        for scanned, folder in zip((False, True), folders, strict=True)
    ]
    return folders, results


@pytest.mark.slow
def test_weights_start_a_scanned_run_that_ends_where_others_do(runs, trained_run):
    (single, scanned), results = runs
    assert results[1] == pytest.approx(results[0], rel=1e-4)
    expected, here, start = saved(single), saved(scanned), open_weights(trained_run).read()
    assert expected.keys() == here.keys()
    for name in expected:
        assert not np.array_equal(here[name], start[name])
        np.testing.assert_allclose(here[name], expected[name], atol=1e-5, err_msg=name)
    assert "MixerBlocks/channel_mixing" in (scanned / "parameters.txt").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("scanned", [False, True])
def test_a_run_goes_on_in_the_other_layout(runs, trained_run, data_dir, tmp_path, scanned):
    folders, results = runs
    shutil.copytree(folders[not scanned], tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "4")
    here = experiment.train(config_of(data_dir, trained_run, scanned), tmp_path / "run")
    assert here == pytest.approx(results[scanned], rel=1e-4)
    expected = saved(folders[scanned])
    for name, array in saved(tmp_path / "run").items():
        np.testing.assert_allclose(array, expected[name], atol=1e-5, err_msg=name)


@pytest.mark.slow
def test_a_scanned_run_scores_what_training_told_and_is_exported(runs, data_dir, tmp_path):
    (_, run), (_, told) = runs
    config = load(ROOT / "configs" / "mixer_digits.py", "smoke")
    config.data.data_dir = data_dir
    scores = score(config, str(run), {}, {"test": "test"})
    for name in ("test/top1", "test/top5", "test/loss"):
        assert scores[name] == pytest.approx(told[name], rel=1e-5)
    weights = open_weights(run)
    export(weights, weights.spec, tmp_path / "model.npz")
    exported = open_weights(tmp_path / "model.npz").read()
    assert exported.keys() == saved(run).keys()
    for name, array in saved(run).items():
        np.testing.assert_array_equal(exported[name], array)


@pytest.mark.parametrize("file", ["mixer_official.npz", "mixer_timm.safetensors",
                                  "gmlp_timm.safetensors"])  # fmt: skip
def test_scanned_models_give_the_reference_logits(file):
    weights = open_weights(DATA / file)
    example = np.load(DATA / f"{file.split('.')[0]}_io.npz")
    model = weights.spec.create_model(scan_layers=True, remat="dots")
    params = stack_blocks(load_params(weights, weights.spec, head="keep"))
    expected = expected_params(model, weights.spec.image_size)
    assert {n: a.shape for n, a in flatten(params).items()} == {
        name: leaf.shape for name, leaf in expected.items()
    }
    logits = jax.jit(model.apply)({"params": params}, example["images"])
    np.testing.assert_allclose(logits, example["logits"], atol=1e-5)
