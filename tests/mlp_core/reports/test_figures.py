"""Curves and results of runs: medians over seeds, and what tells experiments apart."""

import json

import numpy as np
import pytest

from configs import run_fields
from mlp_core.errors import UserError
from mlp_core.process.figure_files import write
from mlp_core.reports.figures import results_over, training_curves


@pytest.fixture
def runs(tmp_path):
    """Two learning rates, three seeds of the second, as they lie in the folder of a sweep."""
    for rate, seed, end in ((0.1, 0, 0.5), (1.0, 0, 0.6), (1.0, 1, 0.9), (1.0, 2, 0.7)):
        config = run_fields.new_config("image_classification", best_metric="test/top1")
        config.schedule.peak_learning_rate, config.seed = rate, seed
        config.train.global_batch_size, config.data.data_dir = 100, f"/data/{rate}"
        folder = tmp_path / "sweep" / f"{rate},{seed}"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(config.to_json())
        records = [
            {"step": 0, "test/top1": 0.1},
            {"step": 5, "train/loss": 2.0 - end},
            {"step": 10, "test/top1": end},
        ]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
        (folder / "results.json").write_text(json.dumps({"test/top1": end}))
    return tmp_path / "sweep"


def test_seeds_are_one_line_with_their_median_and_a_band_over_them(runs):
    (axes,) = training_curves([runs], "test/top1").axes
    lines = {line.get_label(): line for line in axes.lines}
    assert list(lines) == ["peak_learning_rate 0.1", "peak_learning_rate 1 (3 seeds)"]
    one, three = lines.values()
    assert np.allclose(one.get_data(), ([0, 10], [10, 50]))
    assert np.allclose(three.get_data(), ([0, 10], [10, 70]))
    (band,) = axes.collections
    corners = band.get_paths()[0].vertices
    at_end = corners[np.isclose(corners[:, 0], 10), 1]
    assert (at_end.min(), at_end.max()) == pytest.approx((60, 90))
    assert one.get_color() != three.get_color() and one.get_linestyle() != three.get_linestyle()
    assert axes.get_ylabel() == "test/top1, %" and axes.get_xlabel() == "steps"


def test_losses_are_no_percentages_and_examples_are_steps_times_batches(runs):
    (axes,) = training_curves([runs / "0.1,0"], "train/loss", over_examples=True).axes
    (line,) = axes.lines
    assert line.get_label() == "0.1,0" and np.allclose(line.get_data(), ([500], [1.5]))
    assert axes.get_ylabel() == "train/loss"


def test_results_over_a_field_are_points_and_a_line_of_medians(runs):
    (axes,) = results_over([runs], "schedule.peak_learning_rate", "test/top1").axes
    points, medians = axes.lines
    assert np.allclose(sorted(points.get_ydata()), [50, 60, 70, 90])
    assert np.allclose(sorted(points.get_xdata()), [0.1, 1, 1, 1])
    assert np.allclose(medians.get_data(), ([0.1, 1], [50, 70]))
    assert medians.get_label() == "median of 3 seeds"
    assert axes.get_xscale() == "log"


def test_a_run_that_has_not_reached_its_end_is_no_result(runs):
    (runs / "1.0,1" / "results.json").unlink()
    (axes,) = results_over([runs], "schedule.peak_learning_rate", "test/top1").axes
    points, _ = axes.lines
    assert np.allclose(sorted(points.get_ydata()), [50, 60, 70])
    assert axes.get_title() == "without 1 of 4 runs, which have not reached their end"
    for folder in runs.iterdir():
        (folder / "results.json").unlink(missing_ok=True)
    with pytest.raises(UserError, match="has not reached its end, and no other has"):
        results_over([runs], "schedule.peak_learning_rate", "test/top1")


def test_a_result_that_was_measured_after_training_is_drawn_over_a_field(runs):
    for i, folder in enumerate(sorted(runs.iterdir())):
        (folder / "results.json").write_text(json.dumps({"test/top1_real": 0.1 * i}))
    (axes,) = results_over([runs], "schedule.peak_learning_rate", "test/top1_real").axes
    assert np.allclose(sorted(axes.lines[0].get_ydata()), [0, 10, 20, 30])
    with pytest.raises(UserError, match="test/top1_real' was never a finite number in training"):
        training_curves([runs], "test/top1_real")
    (runs / "0.1,0" / "results.json").write_text('{"test/top1_real": "many"}')
    with pytest.raises(UserError, match="test/top1_real' is no finite number there"):
        results_over([runs], "schedule.peak_learning_rate", "test/top1_real")


def test_values_that_look_alike_when_rounded_are_other_experiments(runs):
    for folder, rate in zip(sorted(runs.iterdir()), (0.001, 0.0010000001, 1.0, 1.0), strict=True):
        config = json.loads((folder / "config.json").read_text())
        config["schedule"]["peak_learning_rate"] = rate
        (folder / "config.json").write_text(json.dumps(config))
    (axes,) = training_curves(sorted(runs.iterdir())[:2], "test/top1").axes
    labels = [line.get_label() for line in axes.lines]
    assert labels == ["peak_learning_rate 0.001", "peak_learning_rate 0.0010000001"]


def test_a_line_over_seeds_ends_where_the_first_of_them_does_and_says_so(runs):
    with (runs / "1.0,1" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 15, "test/top1": 0.99}\n')
    (axes,) = training_curves([runs], "test/top1").axes
    _, three = axes.lines
    assert np.allclose(three.get_data(), ([0, 10], [10, 70]))
    assert three.get_label() == "peak_learning_rate 1 (3 seeds), to 10"


def test_a_single_value_of_a_field_has_a_mark_for_its_median_and_seeds_may_be_the_axis(runs):
    (axes,) = results_over(sorted(runs.glob("1.0,*")), "train.global_batch_size", "test/top1").axes
    assert axes.lines[1].get_marker() == "_" and axes.lines[1].get_label() == "median of 3 seeds"
    (axes,) = results_over(sorted(runs.glob("1.0,*")), "seed", "test/top1").axes
    assert axes.lines[1].get_label() == "median"
    assert np.allclose(axes.lines[1].get_data(), ([0, 1, 2], [60, 90, 70]))


@pytest.mark.parametrize(
    "value", ["null", '"abc"', "[1, 2]", "true", "NaN", "Infinity", "9" * 400], ids=lambda v: v[:9]
)
def test_values_that_are_no_finite_numbers_are_passed_over(runs, value):
    metrics = runs / "0.1,0" / "metrics.jsonl"
    for line in (
        f'{{"step": 20, "test/top1": {value}}}\n',
        f'{{"step": {value}, "test/top1": 1}}\n',
    ):
        with metrics.open("a") as file:
            file.write(line)
    (axes,) = training_curves([runs / "0.1,0"], "test/top1").axes
    assert np.allclose(axes.lines[0].get_data(), ([0, 10], [10, 50]))
    metrics.write_text(f'{{"step": 20, "test/top1": {value}, "train/loss": 1.0}}\n')
    with pytest.raises(UserError, match="was (not measured there|never a finite number)"):
        training_curves([runs / "0.1,0"], "test/top1")


def test_fields_whose_names_end_alike_are_told_by_their_whole_names(runs):
    for i, folder in enumerate(sorted(runs.iterdir())[:2]):
        config = json.loads((folder / "config.json").read_text())
        config["optimizer"]["name"] = config["schedule"]["name"] = f"n{i}"
        (folder / "config.json").write_text(json.dumps(config))
    (axes,) = training_curves(sorted(runs.iterdir())[:2], "test/top1").axes
    label = axes.lines[0].get_label()
    assert label == "optimizer.name n0, schedule.name n0, peak_learning_rate 0.1"


MISTAKES = {
    "no run": (lambda runs: training_curves([runs.parent / "no"], "x"), "neither the folder of a"),
    "no folder": (lambda runs: training_curves([], "x"), "name the folder of a run"),
    "no metric": (lambda runs: training_curves([runs], "x"), "it has test/top1, train/loss"),
    "no number": (lambda runs: results_over([runs], "train.duration", "test/top1"), "no number"),
    "no field": (lambda runs: results_over([runs], "no.field", "test/top1"), "has no config.no.f"),
}


@pytest.mark.parametrize("draw, message", MISTAKES.values(), ids=MISTAKES.keys())
def test_what_is_not_there_is_told(runs, draw, message):
    with pytest.raises(UserError, match=message):
        draw(runs)


def test_runs_of_which_much_differs_are_told_by_their_folders(runs):
    path = runs / "0.1,0" / "config.json"
    config = json.loads(path.read_text())
    config["optimizer"] |= {"name": "sgd", "beta1": 0.5, "weight_decay": 0.5, "epsilon": 0.5}
    path.write_text(json.dumps(config))
    (axes,) = training_curves([runs], "test/top1").axes
    labels = [line.get_label() for line in axes.lines]
    assert labels == [str(runs / "0.1,0"), f"{runs / '1.0,0'} (3 seeds)"]


def test_long_labels_lie_below_what_they_tell(runs):
    figure = training_curves([runs], "test/top1")
    assert figure.axes[0].get_legend() and not figure.legends
    path = runs / "0.1,0" / "config.json"
    path.write_text(path.read_text().replace('"adamw"', '"an_optimizer_of_a_rather_long_name"'))
    figure = training_curves([runs], "test/top1")
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert legend.get_window_extent().y1 < figure.axes[0].get_window_extent().y0
    assert legend.get_window_extent().x0 >= 0


def test_a_single_folder_needs_no_list_and_a_single_report_is_a_point(runs):
    (axes,) = training_curves(str(runs / "0.1,0"), "train/loss").axes
    assert axes.lines[0].get_marker() == "o"
    (axes,) = training_curves(runs / "0.1,0", "test/top1").axes
    assert axes.lines[0].get_marker() in ("", "None")


def test_a_run_that_has_measured_nothing_is_told(runs):
    for name in ("metrics.jsonl", "results.json"):
        (runs / "0.1,0" / name).unlink()
    with pytest.raises(UserError, match="0.1,0: nothing was measured there yet"):
        training_curves([runs], "test/top1")


def test_steps_are_no_metric(runs):
    with pytest.raises(UserError, match="'step' was not measured there; it has test/top1"):
        training_curves([runs], "step")


def test_the_final_run_of_a_sweep_is_shown_by_its_own_name_only(runs):
    (runs / "0.1,0").rename(runs / "best")
    (axes,) = training_curves([runs], "test/top1").axes
    assert len(axes.lines) == 1
    (axes,) = training_curves([runs, runs / "best"], "test/top1").axes
    assert len(axes.lines) == 2


def test_a_run_is_named_in_the_legend_whatever_its_folder_is_called(runs, tmp_path):
    for name in ("_hidden", "$x^{$", "a\nb"):
        folder = (runs / "0.1,0").rename(tmp_path / name)
        figure = training_curves(folder, "test/top1")
        write(figure, tmp_path / f"figure{len(name)}.png")
        (text,) = figure.axes[0].get_legend().get_texts()
        assert text.get_text().strip() == name.replace("$", "\\$").replace("\n", "\\n")
        folder.rename(runs / "0.1,0")
