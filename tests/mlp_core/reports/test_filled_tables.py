import json
import statistics

import jax
import pytest

from mlp_core.errors import UserError
from mlp_core.reports.filled_tables import fill, other_runs
from mlp_core.reports.markdown import markdown
from mlp_core.reports.published_tables import read_table
from mlp_core.reports.recipes import Recipe
from mlp_core.reports.runs import read_runs
from mlp_core.reports.sections import sections
from tests.mlp_core.reports.tiny_runs import model_costs, open_recipe, recipe_config, table

pytestmark = pytest.mark.slow  # Three runs are trained for it.


def scores(folder, *names):
    return [json.loads((folder / n / "results.json").read_text())["test/top1"] for n in names]


def saved(config):
    """As a run's folder has it."""
    return json.loads(config.to_json())


def filled(records):
    return fill(table(), records, open_recipe, model_costs)


def test_records_tell_results_hardware_and_time(runs):
    by_name = {record.name: record for record in runs[0]}
    record = by_name["seed_0"]
    kind = jax.devices()[0].device_kind
    assert record.hardware == f"{jax.device_count()} x {kind}"
    assert record.environments[0]["jax"] == jax.__version__
    assert record.device_days > 0 and record.last_step == 12
    assert by_name["unfinished"].results is None


def test_a_cell_has_the_median_over_the_seeds_of_the_whole_recipe(runs, runs_folder):
    cell = filled(runs[0]).cells[0][1]
    expected = scores(runs_folder, "seed_0", "sweep/seed=1")
    assert cell.here == pytest.approx(100 * statistics.median(expected))
    (measurement,) = cell.measurements
    assert sorted(measurement.values) == pytest.approx(sorted(100 * v for v in expected))
    assert cell.published == 55.5 and cell.from_memory


def test_nothing_is_told_where_nothing_was_run(runs):
    cells = filled(runs[0]).cells[1]
    assert cells[0].published is None and cells[0].here is None
    assert cells[1].published == 66.6 and cells[1].here is None
    assert filled([]).cells[0][1].here is None
    assert filled([]).cells[0][0].here == 4.5678  # Computed, not run.


def test_shortened_and_changed_runs_fill_no_cell_and_tell_what_differs(runs):
    records = [r for r in runs[0] if r.name in ("short", "unfinished")]
    assert filled(records).cells[0][1].here is None
    others = {o.record.name: o for o in other_runs([filled(runs[0])], runs[0], open_recipe)}
    assert set(others) == {"short", "unfinished"}
    assert others["short"].differences == [
        "config.augment.flip: true there, false in the recipe",
        'config.train.duration: "3 steps" there, "12 steps" in the recipe',
    ]


def test_a_mean_over_data_sets_needs_all_of_them(runs):
    rows = [row | {"recipes": {"top1": ["digits", "another"]}} for row in ROW]
    mean_of_two = table(rows=rows)

    def open_two(name):
        config = recipe_config()
        if name == "another":
            config.train.duration = "3 steps"
            config.augment.flip = True
        return Recipe(name, config)

    short = [r for r in runs[0] if r.name != "short"]
    assert fill(mean_of_two, short, open_two, model_costs).cells[0][1].here is None
    cell = fill(mean_of_two, runs[0], open_two, model_costs).cells[0][1]
    assert cell.here == pytest.approx(statistics.mean(m.median for m in cell.measurements))


ROW = [{"name": "Mixer", "setting": "", "published": {"top1": 1.0}}]


def test_the_rate_may_be_one_that_the_recipes_own_sweep_chooses_from():
    config = recipe_config()
    config.schedule.peak_learning_rate = 0.001
    assert not open_recipe("digits").differences(saved(config), "test/top1")
    config.schedule.peak_learning_rate = 0.002
    (difference,) = open_recipe("digits").differences(saved(config), "test/top1")
    assert "0.002 there, 0.01 in the recipe" in difference


def test_a_recipe_with_a_final_run_is_that_trained_on_all_of_the_data():
    config = recipe_config()
    config.sweep.train_split = "train+more"
    recipe = Recipe("digits", config)
    (difference,) = recipe.differences(saved(config), "test/top1")
    assert difference.startswith("config.data.train_split")
    config.data.train_split = "train+more"
    assert not recipe.differences(saved(config), "test/top1")


def test_damaged_runs_are_named_and_skipped(runs, tmp_path):
    assert "damaged is left out" in runs[1][0] and len(runs[1]) == 1
    for name, text in (("list", "[]"), ("shallow", '{"data": 3}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(text)
    records, problems = read_runs(tmp_path)
    assert not records and len(problems) == 2


def test_markdown_has_published_and_measured_figures(runs):
    table = filled(runs[0])
    others = other_runs([table], runs[0], open_recipe)
    text = markdown(sections([table], others, [], runs[1]))
    median = table.cells[0][1].here
    assert f"| Mixer | 8 px | 4.6 **4.568** | 55.5† **{median:#.4g}** |" in text
    assert "of 2 seeds" in text and "damaged is left out" in text
    assert "<script" not in text.replace("\\<", "")  # No markup where a backslash is.
    widths = {line.replace("\\|", "").count("|") for line in text.splitlines() if "Never" in line}
    assert widths == {5}


def test_a_file_that_is_no_table_is_refused(tmp_path):
    file = tmp_path / "table.json"
    file.write_text('{"title": "x"}')
    with pytest.raises(UserError, match="no table of published figures"):
        read_table(file)
