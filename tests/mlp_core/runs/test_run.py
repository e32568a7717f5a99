import json

import pytest

from configs import run_fields
from mlp_core.config import RunConfig, parse_config
from mlp_core.errors import UserError
from mlp_core.run_folder.metrics import in_words
from mlp_core.run_folder.run_directory import locked, read_results
from mlp_core.runs.run import check_evaluation, run_task
from tests.mlp_core.train.quadratic import Interrupt, Quadratic, StopsAt


def config_and_settings(**changes):
    config = run_fields.new_config("quadratic", best_metric="test/top1")
    config.train.duration = "2 steps"
    config.train.global_batch_size = 8
    config.evaluation.global_batch_size = 8
    config.update_from_flattened_dict(changes)
    return config, parse_config(RunConfig, config)


def test_a_run_leaves_its_files_and_says_where_they_lie(tmp_path, capsys):
    config, settings = config_and_settings()
    files = {"model.json": "{}\n", "tokenizer.json": "[]\n"}
    results = run_task(Quadratic(), settings, config, tmp_path, files, "rest.")
    for name, text in files.items():
        assert (tmp_path / name).read_text() == text
    assert json.loads((tmp_path / "config.json").read_text())["seed"] == 0
    assert read_results(tmp_path, config) == results
    end = capsys.readouterr().out.split("\nDone: ")[1]
    assert end.startswith(f"test/top1 {100 * results['test/top1']:.2f} %\n")
    assert end.endswith("\nNext: rest.\n")
    for name in ("checkpoints", "metrics.jsonl", "tensorboard"):
        assert f"  {tmp_path / name}" in end


def test_a_folder_with_another_run_in_it_keeps_its_files(tmp_path):
    config, settings = config_and_settings()
    run_task(Quadratic(), settings, config, tmp_path, {"model.json": "first"}, "")
    other, other_settings = config_and_settings(seed=1)
    with pytest.raises(UserError, match="config.seed: 0 there, 1 now"):
        run_task(Quadratic(), other_settings, other, tmp_path, {"model.json": "second"}, "")
    with locked(tmp_path), pytest.raises(UserError, match="another run is at work"):
        run_task(Quadratic(), settings, config, tmp_path, {"model.json": "second"}, "")
    assert (tmp_path / "model.json").read_text() == "first"


def test_a_finished_run_that_is_started_again_has_the_same_results_whatever_its_log_holds(tmp_path):
    config, settings = config_and_settings()
    results = run_task(Quadratic(), settings, config, tmp_path, {}, "")
    for _ in range(2):
        assert run_task(Quadratic(), settings, config, tmp_path, {}, "") == results
        assert read_results(tmp_path, config) == results
        (tmp_path / "metrics.jsonl").write_text('{"step": 0, "test/top1": 0.0}\n')


def test_results_are_kept_where_a_finished_run_cannot_be_evaluated_again(tmp_path):
    config, settings = config_and_settings()
    results = run_task(Quadratic(), settings, config, tmp_path, {}, "")
    unreadable = Quadratic(eval_sources={"test": StopsAt(Quadratic().train_source, 0)})
    with pytest.raises(Interrupt):
        run_task(unreadable, settings, config, tmp_path, {}, "")
    assert read_results(tmp_path, config) == results


def test_a_lock_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / ".lock").mkdir()
    with pytest.raises(UserError, match="its file .lock cannot be written"), locked(tmp_path):
        pass


@pytest.mark.parametrize(
    "splits, metrics, message",
    [
        (["test", "train"], ["top1"], "config.data.eval_splits.train: evaluation cannot be named"),
        (["test", "a/b"], ["top1"], "config.data.eval_splits.a/b: evaluation cannot be named"),
        (
            ["dev"],
            ["top1", "top5"],
            "'test/top1' is not measured, .* choose from dev/top1, dev/top5",
        ),
        (["test"], ["accuracy"], "'test/top1' is not measured, .* choose from test/accuracy"),
        ([], ["top1"], "config.data.eval_splits: there is none; name a split to evaluate"),
    ],
)
def test_evaluations_that_cannot_be_are_refused(splits, metrics, message):
    _, settings = config_and_settings()
    check_evaluation(settings, ["test", "dev"], ["top1"])
    with pytest.raises(UserError, match=message):
        check_evaluation(settings, splits, metrics)


def test_scores_are_told_in_percent_perplexities_as_they_are_and_losses_not():
    results = {
        "test/loss": 0.1, "test/top1": 0.99167, "dev/perplexity": 12.345, "dev/masked_accuracy": 0.5
    }  # fmt: skip
    assert in_words(results) == (
        "test/top1 99.17 %, dev/perplexity 12.35, dev/masked_accuracy 50.00 %"
    )
