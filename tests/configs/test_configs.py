"""What holds for every config."""

import pytest

from launch.experiments import experiment_of
from mlp_core.config import parse_config
from mlp_core.runs.grid import at_point, parse_grid
from mlp_core.runs.several import Run
from mlp_core.runs.sweep import final_run
from mlp_core.runs.tables import differ_in_seed_only
from tests.configs.config_files import CONFIGS, MODULES, load


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_states_its_command(path):
    docstring = path.read_text().split('"""')[1]
    assert f"python launch/main.py --config=configs/{path.name}" in docstring


def test_unknown_variants_are_refused():
    with pytest.raises(ValueError, match="no variant 'smoek'"):
        load(CONFIGS[0], "smoek")


def test_what_has_a_command_is_an_experiment_and_the_rest_is_shared():
    assert CONFIGS
    for path in MODULES:
        assert ("python launch/main.py" in path.read_text()) == (path in CONFIGS), path


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_grid_of_a_config_can_be_swept_also_in_its_smoke_version(path):
    for arg in ("", "smoke"):
        config = load(path, arg)
        settings_class = experiment_of(config).SETTINGS
        if not config.sweep.grid:
            continue
        points = parse_grid(config, config.sweep.grid)
        members = [Run(point, at_point(config, point), path) for point in points]
        runs = list(members)
        # Else there is nothing to choose for a final run, or nothing more to train it on.
        if not differ_in_seed_only(points) and config.sweep.train_split:
            runs += [final_run(member, path) for member in members]
        for run in runs:
            parse_config(settings_class, run.config)
