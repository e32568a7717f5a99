"""Ridge regression onto classes, in closed form, for many penalties at the cost of one.

Targets are one column a class, 1 for the class of an example and -1 for all others. The features
are standardised by the examples that are fitted: zero mean and, up to `EPSILON`, unit variance. The
bias has no penalty. Targets and standardising are those of google-research/big_vision's few-shot
evaluator, whose bias has a slight penalty.

Shapes: N examples, C features, K classes, R the smaller of N and C.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

EPSILON = 1e-5  # Added to standard deviations.
BLOCK = 8192  # Examples that are held in float64 at a time, where they outnumber the features.


@dataclasses.dataclass(frozen=True)
class LinearClassifier:
    """Scores of classes that are linear in the features."""

    weights: np.ndarray  # [C, K], float64.
    bias: np.ndarray  # [K], float64.

    def scores(self, features: np.ndarray) -> np.ndarray:
        """A score for each class [N, K] of features [N, C]."""
        return features @ self.weights + self.bias

    def num_correct(self, features: np.ndarray, labels: np.ndarray) -> int:
        """How many of the examples, features [N, C] and labels [N], have the highest score."""
        return sum(
            int((self.scores(features[block]).argmax(-1) == labels[block]).sum())
            for block in _blocks(len(labels))
        )


@dataclasses.dataclass(frozen=True)
class RidgePath:
    """The solutions for all penalties: X the standardised features, Y the centred targets.

    With the eigenvalues e of X'X, or of XX' where that is smaller, and eigenvectors Q, the weights
    are Q Q'X'Y / (e + l2), or X'Q Q'Y / (e + l2).
    """

    mean: np.ndarray  # [C], of the features.
    scale: np.ndarray  # [C], what they are divided by.
    target_mean: np.ndarray  # [K]
    eigenvalues: np.ndarray  # [R]
    basis: np.ndarray  # [C, R]: Q, or X'Q.
    projected: np.ndarray  # [R, K]: Q'X'Y, or Q'Y.

    def solution(self, l2: float) -> LinearClassifier:
        """The minimum of |XW - Y|^2 + l2 |W|^2, for features as they were given; `l2` > 0."""
        weights = self.basis @ (self.projected / (self.eigenvalues + l2)[:, None])
        weights /= self.scale[:, None]
        return LinearClassifier(weights, self.target_mean - self.mean @ weights)


def fit_ridge(features: np.ndarray, labels: np.ndarray, num_classes: int) -> RidgePath:
    """Decomposes the regression in float64.

    Args:
      features: [N, C].
      labels: integers [N], from 0 to `num_classes` - 1; a class may be absent.
      num_classes: K.
    """
    num_examples, num_features = features.shape
    mean = features.mean(0, dtype=np.float64)
    scale = _standard_deviation(features, mean) + EPSILON
    target_mean = 2 * np.bincount(labels, minlength=num_classes) / num_examples - 1
    if num_examples < num_features:
        x = (features - mean) / scale
        y = _targets(labels, num_classes) - target_mean
        eigenvalues, q = np.linalg.eigh(x @ x.T)  # [N, N]
        basis, projected = x.T @ q, q.T @ y
    else:
        gram = np.zeros((num_features, num_features))
        cross = np.zeros((num_features, num_classes))
        for block in _blocks(num_examples):
            x = (features[block] - mean) / scale
            gram += x.T @ x
            cross += x.T @ (_targets(labels[block], num_classes) - target_mean)
        eigenvalues, basis = np.linalg.eigh(gram)  # [C, C]
        projected = basis.T @ cross
    # Rounding may make those that are zero negative.
    return RidgePath(mean, scale, target_mean, eigenvalues.clip(min=0), basis, projected)


def _standard_deviation(features: np.ndarray, mean: np.ndarray) -> np.ndarray:
    squares = sum(((features[block] - mean) ** 2).sum(0) for block in _blocks(len(features)))
    return np.sqrt(squares / len(features))


def _targets(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """[N, K], 1 for the class of an example and -1 for all others."""
    return np.where(labels[:, None] == np.arange(num_classes), 1.0, -1.0)


def _blocks(num_examples: int) -> Iterator[slice]:
    for first in range(0, num_examples, BLOCK):
        yield slice(first, first + BLOCK)
