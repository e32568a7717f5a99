import numpy as np
import pytest
from sklearn.linear_model import Ridge

from mlp_vision.tools import probes as ridge
from mlp_vision.tools.probes import EPSILON, fit_ridge

NUM_CLASSES = 4
MORE_EXAMPLES, MORE_FEATURES = (90, 12), (20, 50)


def made_examples(shape):
    rng = np.random.default_rng(0)
    features = rng.normal(rng.normal(0, 5, shape[1]), rng.uniform(0.1, 9, shape[1]), shape)
    return features.astype(np.float32), rng.integers(0, NUM_CLASSES, shape[0])


def standardised(features):
    features = features.astype(np.float64)
    return (features - features.mean(0)) / (features.std(0) + EPSILON)


def targets_of(labels):
    return 2 * np.eye(NUM_CLASSES)[labels] - 1


@pytest.fixture(autouse=True)
def several_blocks(monkeypatch):
    monkeypatch.setattr(ridge, "BLOCK", 32)


@pytest.mark.parametrize("shape", [MORE_EXAMPLES, MORE_FEATURES, (30, 30)])
@pytest.mark.parametrize("l2", [2.0**-6, 1.0, 2.0**10])
def test_scores_are_those_of_least_squares_with_a_row_for_each_penalised_weight(shape, l2):
    features, labels = made_examples(shape)
    x, (n, c) = standardised(features), shape
    # The bias is one more column, without a row that would penalise it.
    x_rows = np.block([[x, np.ones((n, 1))], [np.sqrt(l2) * np.eye(c), np.zeros((c, 1))]])
    y_rows = np.concatenate([targets_of(labels), np.zeros((c, NUM_CLASSES))])
    solved = np.linalg.lstsq(x_rows, y_rows, rcond=None)[0]
    expected = x @ solved[:-1] + solved[-1]
    scores = fit_ridge(features, labels, NUM_CLASSES).solution(l2).scores(features)
    np.testing.assert_allclose(scores, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", [MORE_EXAMPLES, MORE_FEATURES])
def test_one_decomposition_gives_what_scikit_learn_fits_for_each_penalty(shape):
    features, labels = made_examples(shape)
    path = fit_ridge(features, labels, NUM_CLASSES)
    assert path.eigenvalues.shape == (min(shape),)  # The smaller of the two problems is solved.
    others, _ = made_examples((7, shape[1]))
    scale = features.astype(np.float64).std(0) + EPSILON
    for l2 in (0.1, 3.0, 500.0):
        theirs = Ridge(alpha=l2).fit(standardised(features), targets_of(labels))
        expected = theirs.predict((others - features.mean(0, dtype=np.float64)) / scale)
        np.testing.assert_allclose(path.solution(l2).scores(others), expected, rtol=1e-8)


def test_features_of_any_scale_and_offset_are_read_alike():
    features, labels = made_examples(MORE_EXAMPLES)
    moved = features.astype(np.float64) * 1e3 - 77
    before = fit_ridge(features, labels, NUM_CLASSES).solution(1.0).scores(features)
    after = fit_ridge(moved, labels, NUM_CLASSES).solution(1.0).scores(moved)
    np.testing.assert_allclose(after, before, atol=1e-3)  # EPSILON is not moved with them.


def test_a_constant_feature_and_an_absent_class_do_no_harm():
    features, labels = made_examples(MORE_EXAMPLES)
    with_constant = np.concatenate([features, np.full((len(features), 1), 0.1, "f4")], 1)
    here = fit_ridge(features, labels, NUM_CLASSES).solution(1.0)
    there = fit_ridge(with_constant, labels, NUM_CLASSES + 1).solution(1.0)
    scores = there.scores(with_constant)
    np.testing.assert_allclose(scores[:, :NUM_CLASSES], here.scores(features), atol=1e-6)
    np.testing.assert_allclose(scores[:, NUM_CLASSES], -1.0, atol=1e-9)


def test_every_example_is_counted_once():
    features, labels = made_examples(MORE_EXAMPLES)  # In three blocks, the last one not full.
    classifier = fit_ridge(features, labels, NUM_CLASSES).solution(1.0)
    expected = sum(
        np.argmax(classifier.scores(features[i : i + 1])) == labels[i] for i in range(len(labels))
    )
    assert 0 < expected < len(labels)
    assert classifier.num_correct(features, labels) == expected
