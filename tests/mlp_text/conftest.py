"""Short runs that several tests look at."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def made_files(tmp_path_factory) -> Path:
    """Where the vocabularies and blocks of these runs are kept."""
    return tmp_path_factory.mktemp("made")


@pytest.fixture(scope="session")
def text_run(tmp_path_factory, made_files) -> Path:
    """The folder of a run that has learned to classify made sentences."""
    # Imported here: the devices must be set up first.
    from mlp_text import experiment
    from tests.mlp_text.tiny_experiments import tiny_classification

    workdir = tmp_path_factory.mktemp("text_run")
    experiment.train(tiny_classification(made_files), workdir)
    return workdir


@pytest.fixture(scope="session")
def mlm_run(tmp_path_factory, made_files) -> Path:
    """The folder of a few steps of masked-LM training, with a Toeplitz matrix."""
    from mlp_text import experiment
    from tests.mlp_text.tiny_experiments import tiny_masked_lm

    workdir = tmp_path_factory.mktemp("mlm_run")
    experiment.train(tiny_masked_lm(made_files), workdir)
    return workdir
