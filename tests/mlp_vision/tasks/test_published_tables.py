"""What fills the published tables of images: which recipes, and means only where all were run."""

import functools
import json
import re
import statistics
from pathlib import Path

import pytest

import mlp_vision
from configs.vtab_tasks import TASKS
from launch.report import open_config
from mlp_core.reports.filled_tables import fill
from mlp_core.reports.published_tables import FOLDER, read_table
from mlp_core.reports.recipes import Recipe
from mlp_core.reports.runs import RunRecord
from mlp_core.reports.sections import sections
from mlp_vision.models.registry import model_costs

FILES = sorted((Path(mlp_vision.__file__).parent / FOLDER).glob("*.json"))
FIVE = {"imagenet2012", "cifar10", "cifar100", "oxford_iiit_pet", "oxford_flowers102"}


@functools.cache
def open_recipe(name):
    return Recipe.of(name, open_config)


def table_of(name):
    return read_table(Path(mlp_vision.__file__).parent / FOLDER / f"{name}.json")


def run_of(recipe, **results):
    """What a finished run of a recipe leaves behind, on all of its training set."""
    config = json.loads(open_recipe(recipe).config.to_json())
    if config["sweep"]["train_split"]:
        config["data"]["train_split"] = config["sweep"]["train_split"]
    return RunRecord(recipe, config, results, 1, [], None)


def cells_of(table, row, records):
    """The cells of a row by the keys of their columns."""
    cells = fill(table, records, open_recipe, model_costs).cells[row]
    return {column.key: cell for column, cell in zip(table.columns, cells, strict=True)}


def row_of(table, name, setting):
    """The number of the first row of this name with this in its setting."""
    return next(i for i, r in enumerate(table.rows) if r.name == name and setting in r.setting)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_recipes_of_every_table_open(file):
    for row in read_table(file).rows:
        for names in row.recipes.values():
            assert all(open_recipe(name).config.task == "image_classification" for name in names)


@pytest.mark.parametrize("name", ["mixer_table_2", "mixer_table_3"])
def test_avg_5_is_over_the_five_data_sets_with_the_same_model_and_pre_training(name):
    rows = [row for row in table_of(name).rows if "avg5" in row.recipes]
    assert len(rows) == {"mixer_table_2": 3, "mixer_table_3": 5}[name]
    for row in rows:
        configs = [open_recipe(name).config for name in row.recipes["avg5"]]
        assert {config.data.name for config in configs} == FIVE and len(configs) == 5
        sizes = set(re.findall(r"\b\d{3}\b(?= px|$)", row.setting))
        assert {str(config.data.image_size) for config in configs} == sizes
        assert len({config.model.name for config in configs}) == 1
        starts = {config.init.weights for config in configs if config.init.weights}
        data = "imagenet21k" if "21k" in row.setting else "imagenet1k"
        folder, file = data, row.name.replace("/", "_")
        if "BiT" in row.name:
            folder, file = "bit_models", row.name.replace("BiT-", "BiT-M-")
        assert {Path(start).stem for start in starts} == {file}
        assert all(folder in start for start in starts)
        assert row.recipes["imagenet"] == row.recipes.get("real", row.recipes["imagenet"])
        assert row.recipes["imagenet"][0] in row.recipes["avg5"]


def test_vtab_1k_is_the_mean_over_19_tasks_and_blank_without_one_of_them():
    table, (_, large) = table_of("mixer_vtab"), table_of("mixer_vtab").rows
    assert len(set(large.recipes["mean"])) == len(TASKS) == 19
    assert large.recipes["mean"] == table_of("mixer_table_2").rows[0].recipes["vtab1k"]
    runs = [
        run_of(name, **{"test/top1": 0.5 + 0.01 * i})
        for i, name in enumerate(large.recipes["mean"])
    ]
    mean = 100 * statistics.mean(run.results["test/top1"] for run in runs)
    all_run = cells_of(table, 1, runs)
    assert all_run["mean"].here == pytest.approx(mean) and all_run["mean"].published == 74.95
    at_448 = cells_of(table_of("mixer_table_2"), 0, runs)
    assert at_448["vtab1k"].here == pytest.approx(mean) and at_448["avg5"].here is None
    one_lacks = cells_of(table, 1, runs[:-1])
    assert one_lacks["mean"].here is None and one_lacks["smallnorb_elevation"].here is None
    assert one_lacks["natural"].here == pytest.approx(53)
    assert cells_of(table, 0, runs[:2])["caltech101"].here is None  # Of B/16 nothing was run.


def test_real_accuracy_fills_its_cell_from_runs_that_were_judged_by_it():
    table = table_of("mixer_table_3")
    judged = run_of("mixer_b16_imagenet", **{"test/top1": 0.8, "test/top1_real": 0.85})
    judged.config["data"]["real_labels"] = "/data/real.json"
    row = row_of(table, "Mixer-B/16", "21k")
    cells = cells_of(table, row, [judged])
    assert cells["real"].here == pytest.approx(85) and cells["imagenet"].here == pytest.approx(80)
    assert cells["avg5"].here is None
    other = run_of("mixer_b16_imagenet", **{"test/top1": 0.8})
    assert cells_of(table, row, [other])["real"].here is None


def test_avg_5_is_told_where_all_five_were_run():
    table = table_of("mixer_table_3")
    row = row_of(table, "Mixer-B/16", "21k")
    runs = [run_of(name, **{"test/top1": 0.9}) for name in table.rows[row].recipes["avg5"]]
    assert cells_of(table, row, runs)["avg5"].here == pytest.approx(90)
    assert cells_of(table, row, runs[1:])["avg5"].here is None


def test_published_figures_keep_the_zeros_that_the_papers_print():
    table = table_of("mixer_table_2")
    (section,) = sections([fill(table, [], open_recipe, model_costs)], [], [], [])
    shown = [entry.text for entry in section.rows[row_of(table, "ViT-L/16", "ImageNet-21k")]]
    assert "85.30" in shown and "85.3" not in shown
