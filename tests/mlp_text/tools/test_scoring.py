"""What weights score is what their run measured, whatever the config trains."""

import pytest

from mlp_core.errors import UserError
from mlp_core.run_folder.run_directory import read_results
from mlp_text.data import text_folder
from mlp_text.tools.scoring import score
from tests.mlp_text.tasks.tiny_experiments import tiny_classification, tiny_masked_lm
from tests.mlp_text.weights.golden_bert import golden_folder

VALIDATION = {"validation": "validation"}


def test_a_classifier_scores_what_its_run_measured(text_run, made_files, capsys):
    config = tiny_classification(made_files)
    measured = read_results(text_run, config)
    config.model.name, config.evaluation.global_batch_size = "amlp_l18", 24
    scores = score(config, str(text_run), {}, VALIDATION)
    assert scores.keys() == measured.keys()
    assert scores["validation/accuracy"] == pytest.approx(measured["validation/accuracy"])
    assert scores["validation/loss"] == pytest.approx(measured["validation/loss"], rel=1e-4)
    assert "validation (100 examples): validation/accuracy" in capsys.readouterr().out


def test_a_masked_lm_scores_what_its_run_measured(mlm_run, made_files):
    config = tiny_masked_lm(made_files)
    scores = score(config, str(mlm_run), {}, {"validation": "pydoc:validation"})
    assert scores == pytest.approx(read_results(mlm_run, config), rel=1e-4)


def test_another_length_is_as_the_flag_says(mlm_run, text_run, made_files):
    config = tiny_masked_lm(made_files)
    config.data.max_length = 12
    splits = {"validation": "pydoc:validation"}
    short = score(config, str(mlm_run), {"data.max_length": 12}, splits)
    assert short != pytest.approx(score(config, str(mlm_run), {}, splits), rel=1e-4)
    config = tiny_classification(made_files)
    config.data.max_length = 32
    with pytest.raises(UserError, match="does not fit the model; it needs .*max_length=16"):
        score(config, str(text_run), {"data.max_length": 32}, VALIDATION)


MISTAKES = {
    "a field of the weights": ({"model.name": "gmlp"}, VALIDATION, "config.model.name: that is as"),
    "a split": ({}, {"test": "test"}, "split test: synthetic_text has no split 'test'"),
}


@pytest.mark.parametrize("fields, splits, message", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_told(fields, splits, message, text_run, made_files):
    with pytest.raises(UserError, match=message):
        score(tiny_classification(made_files), str(text_run), fields, splits)


def test_weights_of_another_task_are_refused(text_run, mlm_run, made_files, tmp_path):
    classes, words = tiny_classification(made_files), tiny_masked_lm(made_files)
    for source in (mlm_run, golden_folder(tmp_path)):
        with pytest.raises(UserError, match="no head for the classes of synthetic_text"):
            score(classes, str(source), {}, VALIDATION)
    with pytest.raises(UserError, match="no masked-LM head"):
        score(words, str(text_run), {}, {"validation": "pydoc:validation"})
    classes.data.name = "synthetic_text/pair"
    with pytest.raises(UserError, match="'entailment' is not among its 2, negative, pos"):
        score(classes, str(text_run), {}, VALIDATION)


def test_a_split_without_labels_is_refused(text_run, made_files, tmp_path):
    folder = tmp_path / "reviews"
    folder.mkdir()
    (folder / "train.tsv").write_text("sentence\tlabel\ngood\tpositive\nbad\tnegative\n")
    (folder / "test.tsv").write_text("sentence\tlabel\nso so\t-1\nno\t-1\n")
    config = tiny_classification(made_files)
    config.data.name = str(folder)
    with pytest.raises(UserError, match="no example has a label"):
        score(config, str(text_run), {}, {"test": "test"})


def test_labels_are_matched_with_the_classes_of_a_run_by_name(
    text_run, made_files, tmp_path, monkeypatch
):
    rows = [("a fine film", "positive"), ("a dull bore", "negative"), ("so fine", "positive")]
    table = "".join("\t".join(row) + "\n" for row in [("sentence", "label"), *rows])
    (tmp_path / "train.tsv").write_text(table)
    config = tiny_classification(made_files)
    config.data.name = str(tmp_path)
    scores = score(config, str(text_run), {}, {"train": "train"})
    monkeypatch.setattr(text_folder, "in_class_order", lambda names: sorted(names, reverse=True))
    assert score(config, str(text_run), {}, {"train": "train"}) == scores
