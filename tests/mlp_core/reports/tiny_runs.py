"""Runs of a few steps, and a table that such runs fill."""

from pathlib import Path

from ml_collections import ConfigDict

from configs import mixer_digits
from mlp_core.reports.published_tables import PublishedTable
from mlp_core.reports.recipes import Recipe
from mlp_core.run_folder.run_directory import read_config
from mlp_vision.tasks import experiment

HOSTILE = '<script src="http://example.org/x.js"></script>|*'


def recipe_config() -> ConfigDict:
    """Twelve steps of a small Mixer on digits."""
    config = mixer_digits.get_config()
    config.model.num_blocks = 1
    config.train.duration = "12 steps"
    config.schedule.warmup = "2 steps"
    config.train.global_batch_size = 16
    config.evaluation.every = "0 steps"
    config.checkpoint.every = "0 steps"
    config.sweep.grid = ("schedule.peak_learning_rate=0.01,0.001",)
    config.schedule.peak_learning_rate = 0.01
    return config


def train_runs(root: Path, data_dir: str) -> None:
    """Two seeds of the recipe, one of them in a sweep's folder, and a run that departs from it."""
    changes = {
        "seed_0": {},
        "sweep/seed=1": {"seed": 1},
        "short": {"train.duration": "3 steps", "augment.flip": True},
    }
    for name, changed in changes.items():
        config = recipe_config()
        config.data.data_dir = data_dir
        config.update_from_flattened_dict(changed)
        experiment.train(config, root / name)
    (root / "damaged").mkdir()
    (root / "damaged" / "config.json").write_text("{")
    (root / "unfinished").mkdir()
    (root / "unfinished" / "config.json").write_text((root / "seed_0/config.json").read_text())
    assert read_config(root / "unfinished")


def open_recipe(name: str) -> Recipe:
    return Recipe(name, recipe_config())


def model_costs(**model) -> dict[str, float]:
    return {"parameters": 4.5678, "gflops": 0.25}


def table(**changes) -> PublishedTable:
    """Two rows, of which runs of "digits" fill one."""
    row = {"name": "Mixer", "setting": "8 px", "published": {"top1": 55.5, "parameters": 4.6},
           "from_memory": ["top1"], "recipes": {"top1": ["digits"]}, "model": {}}  # fmt: skip
    other = {"name": "Never run", "setting": HOSTILE, "published": {"top1": 66.6}}
    fields = dict(
        title="Digits",
        source="A paper, Table 1",
        url="https://example.org/paper",
        note="A note.",
        columns=[
            {"key": "parameters", "title": "Parameters, M", "computed": "parameters"},
            {"key": "top1", "title": "Digits, %", "metric": "test/top1"},
        ],
        rows=[row, other],
    )
    return PublishedTable(**(fields | changes))
