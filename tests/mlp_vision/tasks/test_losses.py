import jax.numpy as jnp
import numpy as np
import pytest

from mlp_vision.tasks.classification import class_shares, cross_entropies

LOGITS = np.array([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0]], np.float32)
LABELS = np.array([0, 2])


def test_softmax_loss_of_labels_is_minus_the_log_of_their_probability():
    probabilities = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
    losses = cross_entropies("softmax", LOGITS, class_shares(LABELS, 3))
    np.testing.assert_allclose(losses, -np.log(probabilities[[0, 1], LABELS]), rtol=1e-5)


def test_sigmoid_loss_is_summed_over_the_classes():
    probabilities = 1 / (1 + np.exp(-LOGITS))
    right = np.eye(3)[LABELS] == 1
    expected = -np.log(np.where(right, probabilities, 1 - probabilities)).sum(-1)
    losses = cross_entropies("sigmoid", LOGITS, class_shares(LABELS, 3))
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_the_loss_of_a_mixture_is_the_mixture_of_losses(output):
    one, other = np.eye(3, dtype=np.float32)[[0, 0]], np.eye(3, dtype=np.float32)[[1, 1]]
    mixed = cross_entropies(output, LOGITS, class_shares(0.7 * one + 0.3 * other, 3))
    expected = 0.7 * cross_entropies(output, LOGITS, one)
    expected += 0.3 * cross_entropies(output, LOGITS, other)
    np.testing.assert_allclose(mixed, expected, rtol=1e-5)


def test_smoothing_spreads_its_part_over_all_classes():
    shares = class_shares(jnp.array([1]), 4, label_smoothing=0.1)
    np.testing.assert_allclose(shares, [[0.025, 0.925, 0.025, 0.025]], atol=1e-7)
    mixed = class_shares(jnp.array([[0.5, 0.5, 0.0, 0.0]]), 4, label_smoothing=0.2)
    np.testing.assert_allclose(mixed, [[0.45, 0.45, 0.05, 0.05]], atol=1e-7)
