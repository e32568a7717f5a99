"""Linear probes of frozen features in closed form: few-shot, and on the whole training split.

A ridge regression on the pooled features before the head measures how linearly separable the
classes are. Few-shot: for example five examples per class, over several draws, as in MLP-Mixer
(arXiv:2105.01601), figures 2 and 4; sampling and regression follow google-research/big_vision's
few-shot evaluator. Its penalty is fixed; here it is chosen on held-out training examples, never on
the test split.

Shapes: N examples, C channels, K classes.
"""

import dataclasses
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from mlp_core.errors import UserError
from mlp_core.process.console import say
from mlp_core.process.watchdog import limited
from mlp_core.runs.tables import markdown_table
from mlp_vision.data.image_dataset import ImageDataset
from mlp_vision.models.model_spec import ModelSpec
from mlp_vision.tools.features import MEMORY_LIMIT_BYTES, POOLED, feature_rows
from mlp_vision.tools.inference import Inference, open_inference

EPSILON = 1e-5  # Added to standard deviations.
BLOCK = 8192  # Examples in float64 at a time, if they outnumber the features.
PENALTIES = tuple(2.0**power for power in range(-6, 17))
DRAWS = 5  # Draws of the shots; accuracy is their mean.
HELD_OUT_SHARE, MOST_HELD_OUT = 0.1, 10_000  # Share and maximum of the training split.
SEED = 0
MOST_NAMED = 3  # Maximum number of classes in a message.


@dataclasses.dataclass(frozen=True)
class LinearClassifier:
    """Class scores that are linear in the features."""

    weights: np.ndarray  # [C, K], float64.
    bias: np.ndarray  # [K], float64.

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Returns class scores [N, K] of features [N, C]."""
        return features @ self.weights + self.bias

    def num_correct(self, features: np.ndarray, labels: np.ndarray) -> int:
        """Counts the examples, features [N, C] and labels [N], whose own class scores highest."""
        return sum(
            int((self.scores(features[block]).argmax(-1) == labels[block]).sum())
            for block in _blocks(len(labels))
        )


@dataclasses.dataclass(frozen=True)
class RidgePath:
    """Solutions for all penalties: X are the standardised features, Y the centred targets.

    With the eigenvalues e of X'X, or of XX' where that is smaller, and eigenvectors Q, the weights
    are Q Q'X'Y / (e + l2), or X'Q Q'Y / (e + l2).
    """

    mean: np.ndarray  # [C], feature means.
    scale: np.ndarray  # [C], divisor of the features.
    target_mean: np.ndarray  # [K]
    eigenvalues: np.ndarray  # [R]
    basis: np.ndarray  # [C, R]: Q, or X'Q.
    projected: np.ndarray  # [R, K]: Q'X'Y, or Q'Y.

    def solution(self, l2: float) -> LinearClassifier:
        """Returns the minimum of |XW - Y|^2 + l2 |W|^2, for unstandardised features; `l2` > 0."""
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
    # Rounding may make zero eigenvalues negative.
    return RidgePath(mean, scale, target_mean, eigenvalues.clip(min=0), basis, projected)


def _standard_deviation(features: np.ndarray, mean: np.ndarray) -> np.ndarray:
    squares = sum(((features[block] - mean) ** 2).sum(0) for block in _blocks(len(features)))
    return np.sqrt(squares / len(features))


def _targets(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Returns targets [N, K]: 1 for the class of an example and -1 for all others."""
    return np.where(labels[:, None] == np.arange(num_classes), 1.0, -1.0)


def _blocks(num_examples: int) -> Iterator[slice]:
    for first in range(0, num_examples, BLOCK):
        yield slice(first, first + BLOCK)


@dataclasses.dataclass(frozen=True)
class Features:
    """Pooled features of a split, with their labels."""

    values: np.ndarray  # [N, C], float32.
    labels: np.ndarray  # [N], integers.

    def __getitem__(self, chosen: np.ndarray) -> "Features":
        """Selects examples."""
        return Features(self.values[chosen], self.labels[chosen])

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.labels)


@dataclasses.dataclass(frozen=True)
class ProbeResult:
    """Results of a probe; accuracies are fractions."""

    probe: str  # "5-shot", or "linear".
    fitted_examples: int
    l2: float
    held_out_accuracy: float  # Chose the penalty; the mean over draws.
    test_accuracy: float  # The mean over draws.
    test_accuracies: tuple[float, ...]  # Per draw.

    @property
    def is_at_an_end(self) -> bool:
        """Whether the penalty is the smallest or largest one tried."""
        return self.l2 in (PENALTIES[0], PENALTIES[-1])


def probe(
    config: ConfigDict,
    source: str,
    train_split: str,
    test_split: str,
    shots: Sequence[int],
    linear: bool,
) -> dict[str, Any]:
    """Fits the probes, prints their scores on the test split, and returns them, JSON-serializable.

    The model, its resolution and its eval preset are those of the weights.

    Args:
      config: an experiment, for its dataset, batch size and dtype.
      source: weights, see `published_weights.locate_weights`.
      train_split: the split to fit probes and choose penalties on.
      test_split: the split to score on, every example once.
      shots: numbers of examples per class, one few-shot probe each.
      linear: whether to fit a probe on the whole training split as well.

    Raises:
        UserError: weights or data are unavailable, or a class has too few examples.
    """
    if not shots and not linear:
        raise UserError("--shots: name how many examples of each class, or leave --linear on.")

    def check(spec: ModelSpec, dataset: ImageDataset) -> None:
        _check_memory(spec, dataset, train_split)
        needed, there = max(shots, default=0) * dataset.num_classes, dataset.num_examples
        if needed > there(train_split):
            raise UserError(
                f"--shots: {max(shots)} examples of each of {dataset.num_classes:,} classes are "
                f"{needed:,}, and {dataset.name} {train_split} has {there(train_split):,}."
            )

    inference = open_inference(
        config, source, [train_split, test_split], lambda spec: spec.adapted(num_classes=0), check
    )
    dataset = inference.dataset
    with limited(60 * config.train.stall_limit):
        train = _pooled_features(inference, train_split)
        kept_back = _held_out(train)
        rest, chosen_by = train[~kept_back], train[kept_back]
        check_shots(
            rest.labels,
            dataset.class_names,
            shots,
            where=f"{dataset.name} {train_split}, without the {len(chosen_by):,} held out,",
        )
        test = _pooled_features(inference, test_split)
    say(
        f"{dataset.name}: probes of {len(rest):,} + {len(chosen_by):,} examples of {train_split} "
        f"(the latter choose the penalty), scored on {len(test):,} of {test_split}; "
        f"{train.values.shape[1]:,} features, {inference.spec.preprocessing()}"
    )
    results = [few_shot(rest, chosen_by, test, dataset.num_classes, k) for k in shots]
    if linear:
        results.append(whole_split(train, rest, chosen_by, test, dataset.num_classes))
    say(table(results))
    for result in results:
        if result.is_at_an_end:
            say(f"Note: the penalty of {result.probe} is at an end of those tried; see {__name__}.")
    return {
        "weights": source,
        "dataset": dataset.name,
        "train_split": train_split,
        "held_out_examples": len(chosen_by),
        "test_split": test_split,
        "test_examples": len(test),
        "num_features": train.values.shape[1],
        "preprocessing": inference.spec.preprocessing(),
        "probes": [dataclasses.asdict(result) for result in results],
    }


def few_shot(
    train: Features, chosen_by: Features, test: Features, num_classes: int, shots: int
) -> ProbeResult:
    """Draws `shots` examples of each class of `train`, `DRAWS` times, and fits a probe on each.

    All draws share the penalty with the best mean accuracy on `chosen_by`.
    """
    draws = [shots_of_each_class(train.labels, num_classes, shots, seed) for seed in range(DRAWS)]
    paths = [fit(train[draw], num_classes) for draw in draws]
    l2, held_out_accuracy = best_penalty(paths, chosen_by)
    accuracies = tuple(accuracy(path, l2, test) for path in paths)
    mean = statistics.mean(accuracies)
    return ProbeResult(f"{shots}-shot", len(draws[0]), l2, held_out_accuracy, mean, accuracies)


def whole_split(
    everything: Features, train: Features, chosen_by: Features, test: Features, num_classes: int
) -> ProbeResult:
    """Fits a probe on `everything`: `train` plus `chosen_by`, which chose its penalty."""
    l2, held_out_accuracy = best_penalty([fit(train, num_classes)], chosen_by)
    scored = accuracy(fit(everything, num_classes), l2, test)
    return ProbeResult("linear", len(everything), l2, held_out_accuracy, scored, (scored,))


def fit(examples: Features, num_classes: int) -> RidgePath:
    """Fits the regressions onto the examples' classes, for all penalties."""
    return fit_ridge(examples.values, examples.labels, num_classes)


def best_penalty(paths: Sequence[RidgePath], chosen_by: Features) -> tuple[float, float]:
    """Returns the penalty with the best mean accuracy (middle of ties), and that accuracy."""
    means = [statistics.mean(accuracy(path, l2, chosen_by) for path in paths) for l2 in PENALTIES]
    best = [l2 for l2, mean in zip(PENALTIES, means, strict=True) if mean == max(means)]
    return best[len(best) // 2], max(means)


def accuracy(path: RidgePath, l2: float, examples: Features) -> float:
    """Returns the share of examples whose own class scores highest."""
    return path.solution(l2).num_correct(examples.values, examples.labels) / len(examples)


def table(results: Sequence[ProbeResult]) -> str:
    """Formats the results as a Markdown table."""
    head = ["probe", "fitted on", "l2", "held out, %", "test, %", f"lowest to highest of {DRAWS}"]
    rows = []
    for result in results:
        lowest, highest = min(result.test_accuracies), max(result.test_accuracies)
        rows.append(
            [
                result.probe,
                f"{result.fitted_examples:,}",
                f"{result.l2:g}",
                f"{100 * result.held_out_accuracy:.2f}",
                f"{100 * result.test_accuracy:.2f}",
                f"{100 * lowest:.2f} to {100 * highest:.2f}" if lowest < highest else "",
            ]
        )
    return markdown_table(head, rows)


def _pooled_features(inference: Inference, split: str) -> Features:
    """Returns features of every readable example of a split."""
    batches = list(feature_rows(inference, split, [POOLED]))
    labels = np.concatenate([batch["label"] for batch in batches])
    if left_out := inference.dataset.num_examples(split) - len(labels):
        say(f"{split}: {left_out:,} examples could not be read; they have no part in this")
    return Features(np.concatenate([batch[POOLED] for batch in batches]), labels)


def _held_out(train: Features) -> np.ndarray:
    """Returns whether each example is held out to choose penalties."""
    share = min(HELD_OUT_SHARE, MOST_HELD_OUT / len(train))
    return held_out(train.labels, share, SEED)


def _check_memory(spec: ModelSpec, dataset: ImageDataset, split: str) -> None:
    size = 4 * dataset.num_examples(split) * spec.feature_dim
    if size > MEMORY_LIMIT_BYTES:
        raise UserError(
            f"--train_split={split}: features of {size / 2**30:.0f} GiB would be held in memory; "
            "name a part, such as train[:10%]."
        )


def held_out(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Draws about a `share` of each class, at least one example of classes with two or more.

    Returns whether each example is held out, bool [N], given `labels` [N].
    """
    rng = np.random.default_rng(seed)
    is_held_out = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        count = min(max(round(share * len(members)), 1), len(members) - 1)
        is_held_out[members[:count]] = True
    return is_held_out


def shots_of_each_class(labels: np.ndarray, num_classes: int, shots: int, seed: int) -> np.ndarray:
    """Draws `shots` examples of each class without replacement; returns their indices.

    With the same seed, draws of fewer shots are subsets of those of more. Each class must have
    enough examples, see `check_shots`.
    """
    rng = np.random.default_rng(seed)
    members = [rng.permutation(np.flatnonzero(labels == c)) for c in range(num_classes)]
    return np.concatenate([of_class[:shots] for of_class in members])


def check_shots(
    labels: np.ndarray, class_names: Sequence[str], shots: Sequence[int], where: str
) -> None:
    """Checks that each class has `shots` examples among `labels`; `where` names these.

    Raises:
        UserError: names the classes with the fewest examples, and the possible shots.
    """
    counts = np.bincount(labels, minlength=len(class_names))
    wanted, fewest = max(shots, default=0), int(counts.min())
    if fewest >= wanted:
        return
    short = [c for c in np.argsort(counts, kind="stable") if counts[c] < wanted]
    named = ", ".join(f"{class_names[c]!r} ({counts[c]})" for c in short[:MOST_NAMED])
    others = f" and {len(short) - MOST_NAMED} more classes" if len(short) > MOST_NAMED else ""
    remedy = f"ask for {fewest} at most" if fewest else "leave few-shot probes out with --shots="
    raise UserError(
        f"--shots: {wanted} examples of each class are asked for, and {where} has fewer of "
        f"{named}{others}; {remedy}."
    )
