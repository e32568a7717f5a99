"""When a run is one of a recipe, from configurations alone."""

import json
from pathlib import Path

import pytest

from launch.report import open_config
from mlp_core.reports.filled_tables import departures, measure
from mlp_core.reports.recipes import Recipe
from mlp_core.reports.runs import RunRecord

C4 = "/data/c4/realnewslike/c4-{}.*.json.gz"


def open_recipe(name):
    return Recipe.of(name, open_config)


def record(name, recipe, metric, **fields):
    config = open_config(*recipe.partition(":")[::2])
    config.update_from_flattened_dict(fields)
    return RunRecord(name, json.loads(json.dumps(config.to_dict())), {metric: 0.5}, 1, [], None)


@pytest.mark.parametrize(
    "name",
    ["mixer_b16_imagenet_scratch", "gmlp_ti16_imagenet", "vit_imagenet_scratch:b16",
     "mixer_cifar10_scratch", "gmlp_cifar10_scratch"],
)  # fmt: skip
def test_without_a_sweep_a_run_of_the_config_as_it_stands_is_one_of_the_recipe(name):
    run = record("a", name, "test/top1")
    assert open_recipe(name).differences(run.config, "test/top1") == []


def test_after_a_sweep_the_run_on_all_training_examples_is_the_one_that_counts():
    recipe = open_recipe("mixer_b16_cifar10")
    (line,) = recipe.differences(record("a", recipe.name, "test/top1").config, "test/top1")
    assert line == 'config.data.train_split: "train[:98%]" there, "train" in the recipe'
    final = record("a", recipe.name, "test/top1", **{"data.train_split": "train"})
    assert recipe.differences(final.config, "test/top1") == []


def test_files_of_text_may_lie_anywhere_but_in_a_folder_of_another_name():
    recipe, metric = open_recipe("gmlp_mlm_c4:l18"), "validation/perplexity"
    places = {
        "data.train_split": C4.format("train"),
        "data.eval_splits.validation": C4.format("validation"),
    }
    assert recipe.differences(record("a", recipe.name, metric, **places).config, metric) == []
    places["data.train_split"] = places["data.train_split"].replace("realnewslike", "en")
    (line,) = recipe.differences(record("a", recipe.name, metric, **places).config, metric)
    assert line.startswith('config.data.train_split: "en/c4-train.*.json.gz" there')


def test_a_run_counts_only_where_the_run_that_it_started_from_is_a_whole_one():
    recipe = open_recipe("tmlp_sst2")
    metric = recipe.config.evaluation.best_metric
    fields = {"data.train_split": recipe.config.sweep.train_split or "train"}
    start = Path(recipe.config.init.weights).name
    perplexity = open_recipe(start).config.evaluation.best_metric
    short = record(start, start, perplexity, **{"train.duration": "10 steps"})
    whole_elsewhere = record(f"text/{start}", start, perplexity)
    whole = record(start, start, perplexity)
    for weights, others, expected in (
        (f"runs/{start}", [], "no finished run runs/gmlp_mlm_c4 is among the runs"),
        (f"runs/{start}", [whole_elsewhere], "no finished run runs/gmlp_mlm_c4 is among the runs"),
        (f"runs/{start}", [short, whole_elsewhere], "runs/gmlp_mlm_c4 is no whole run of gmlp_m"),
        (f"runs/{start}", [whole], None),
        (f"/data/runs/{start}", [whole], None),
        (f"/data/text/{start}", [short, whole_elsewhere], None),
    ):
        run = record("first", recipe.name, metric, **fields | {"init.weights": weights})
        lines = departures(run, recipe, metric, [run, *others], open_recipe)
        assert [expected in line for line in lines] == ([True] if expected else [])
        measured = measure(recipe, metric, [run, *others], open_recipe)
        assert len(measured.runs) == (expected is None)
