"""Probes score what their definition says, and the test split chooses nothing."""

import json
import subprocess
import sys

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlp_core.errors import UserError
from mlp_vision.tools import probes
from mlp_vision.tools.features import extract
from mlp_vision.tools.probes import (
    DRAWS,
    PENALTIES,
    Features,
    best_penalty,
    few_shot,
    fit,
    probe,
    table,
    whole_split,
)
from tests.configs.config_files import load
from tests.conftest import ROOT

DIGITS = ROOT / "configs" / "mixer_digits.py"


@pytest.fixture
def config(data_dir):
    config = load(DIGITS, "smoke")  # Batches of evaluation are of 16.
    config.data.data_dir = data_dir
    return config


def made_features(count, seed, noise=3.0):
    """Three classes around points of their own."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    centres = np.random.default_rng(100).normal(0, 1, (3, 20))
    return Features((centres[labels] + rng.normal(0, noise, (count, 20))).astype("f4"), labels)


def test_the_linear_probe_is_scikit_learns_regression_of_the_same_features(
    trained_run, config, tmp_path
):
    config.data.name = "digits"  # Others than the weights have seen, so that some are mistaken.
    told = probe(config, str(trained_run), "train", "test[:350]", [], linear=True)
    [result] = told["probes"]
    files = {}
    for name, split in {"train": "train", "test": "test[:350]"}.items():
        extract(config, str(trained_run), split, ["pooled"], tmp_path / f"{name}.npz")
        files[name] = np.load(tmp_path / f"{name}.npz")
    train, test = files["train"], files["test"]
    model = make_pipeline(StandardScaler(), Ridge(alpha=result["l2"]))
    model.fit(train["pooled"].astype("f8"), 2 * np.eye(10)[train["label"]] - 1)
    is_right = model.predict(test["pooled"].astype("f8")).argmax(1) == test["label"]
    assert result["fitted_examples"] == 1437 and told["held_out_examples"] == 143
    assert told["test_examples"] == 350 and told["num_features"] == 64
    assert result["test_accuracy"] == is_right.mean()
    assert 0.5 < result["test_accuracy"] < 1


def test_few_shot_accuracy_is_the_mean_over_draws_of_as_many_examples_a_class():
    train, chosen_by, test = (made_features(n, seed) for seed, n in enumerate((90, 60, 200)))
    result = few_shot(train, chosen_by, test, num_classes=3, shots=4)
    assert result.probe == "4-shot" and result.fitted_examples == 12
    assert len(set(result.test_accuracies)) > 1 and len(result.test_accuracies) == DRAWS
    assert result.test_accuracy == pytest.approx(np.mean(result.test_accuracies))
    assert all((200 * a) == pytest.approx(round(200 * a)) for a in result.test_accuracies)
    again = few_shot(train, chosen_by, test, num_classes=3, shots=4)
    assert again == result


def test_more_shots_and_the_whole_split_score_better():
    train, chosen_by, test = (made_features(n, seed) for seed, n in enumerate((900, 90, 900)))
    few, many = (few_shot(train, chosen_by, test, 3, shots) for shots in (1, 25))
    whole = whole_split(train, train, chosen_by, test, 3)
    assert few.test_accuracy + 0.1 < many.test_accuracy < whole.test_accuracy + 0.01


def test_the_penalty_is_the_best_on_what_is_held_out_and_the_test_split_has_no_part_in_it():
    train, chosen_by = made_features(60, 0), made_features(300, 1)
    path = fit(train, 3)
    l2, held_out_accuracy = best_penalty([path], chosen_by)
    scores = [
        (path.solution(penalty).scores(chosen_by.values).argmax(1) == chosen_by.labels).mean()
        for penalty in PENALTIES
    ]
    assert held_out_accuracy == max(scores) == scores[PENALTIES.index(l2)] > min(scores)
    for seed in (2, 3):
        test = made_features(50, seed, noise=9.0)
        assert whole_split(train, train, chosen_by, test, 3).l2 == l2


def test_of_equal_penalties_the_middle_one_is_taken():
    apart = Features(np.eye(3, dtype="f4")[[0, 1, 2] * 5], np.array([0, 1, 2] * 5))
    assert best_penalty([fit(apart, 3)], apart) == (PENALTIES[len(PENALTIES) // 2], 1.0)


def test_the_table_has_a_row_for_each_probe():
    train = made_features(90, 0)
    results = [few_shot(train, train, train, 3, 4), whole_split(train, train, train, train, 3)]
    rows = table(results).splitlines()
    assert len(rows) == 4 and len({row.count("|") for row in rows}) == 1
    assert rows[2].startswith("| 4-shot | 12 | ") and " to " in rows[2]
    assert rows[3].startswith("| linear | 90 | ") and " to " not in rows[3]


def test_mistakes_are_told(trained_run, config):
    weights = str(trained_run)
    with pytest.raises(
        UserError, match="25 examples of each of 10 .* 250, and synthetic train.:90"
    ):
        probe(config, weights, "train[:90]", "test", [1, 25], True)
    with pytest.raises(UserError, match=r"train, without the 26 held out, has fewer of '0' \(23\)"):
        probe(config, weights, "train", "test", [23, 24], True)
    with pytest.raises(UserError, match="--shots: name how many"):
        probe(config, weights, "train", "test", [], False)
    with pytest.raises(UserError, match="synthetic has no split 'nope'"):
        probe(config, weights, "nope", "test", [1], True)


def test_features_that_memory_cannot_hold_are_refused(trained_run, config, monkeypatch):
    monkeypatch.setattr(probes, "MEMORY_LIMIT_BYTES", 256 * 64 * 4 - 1)
    with pytest.raises(UserError, match="--train_split=train: features .* name a part"):
        probe(config, str(trained_run), "train", "test", [1], True)
    probe(config, str(trained_run), "train[:255]", "test", [1], False)


def command(*flags):
    return subprocess.run(
        [sys.executable, "launch/probe.py", f"--config={DIGITS}:smoke", *flags],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def test_the_command_tells_a_table_and_writes_the_figures(trained_run, data_dir, tmp_path):
    file = tmp_path / "probe.json"
    run = command(
        f"--config.data.data_dir={data_dir}", f"--weights={trained_run}", "--shots=1,5",
        f"--json={file}",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "230 + 26 examples of train" in run.stdout and "100 of test;" in run.stdout
    assert "preset resmall_crop at 32 x 32 pixels, values 0 to 1" in run.stdout
    told = json.loads(file.read_text())
    assert [r["probe"] for r in told["probes"]] == ["1-shot", "5-shot", "linear"]
    for result in told["probes"]:
        assert f"| {100 * result['test_accuracy']:.2f} |" in run.stdout


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--shots=5,few"], "--shots: 'few' is no number of examples"),
        (["--shots=0"], "--shots: '0' is no number of examples"),
        (["--json=setup.py/x.json"], "--json=setup.py/x.json: no file can be written"),
        ([], "there is no run in runs/mixer_digits_smoke yet"),
    ],
)
def test_a_mistake_is_answered_in_a_sentence(flags, message):
    run = command(*flags)
    assert run.returncode == 2 and message in run.stderr and "Traceback" not in run.stderr
