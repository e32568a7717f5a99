import numpy as np
import pytest

from mlp_core.errors import UserError
from mlp_vision.tools.probes import check_shots, held_out, shots_of_each_class

SIZES = [40, 25, 7, 2, 1]
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(5), SIZES))


def test_of_each_class_so_many_different_examples_are_drawn():
    labels = LABELS[LABELS < 3]
    drawn = shots_of_each_class(labels, 3, 7, seed=0)
    assert len(set(drawn)) == len(drawn) == 21
    np.testing.assert_array_equal(np.bincount(labels[drawn]), [7, 7, 7])


def test_the_seed_settles_the_draw_and_fewer_shots_are_among_more():
    labels = LABELS[LABELS < 2]
    first = shots_of_each_class(labels, 2, 10, seed=0)
    np.testing.assert_array_equal(shots_of_each_class(labels, 2, 10, seed=0), first)
    assert set(shots_of_each_class(labels, 2, 10, seed=1)) != set(first)
    assert set(shots_of_each_class(labels, 2, 5, seed=0)) < set(first)


def test_all_examples_of_a_class_are_as_likely():
    labels = np.repeat([0, 1], 10)
    counts = sum(
        np.bincount(shots_of_each_class(labels, 2, 2, seed), minlength=20) for seed in range(2000)
    )
    # Each is drawn 400 times in the mean, with a standard deviation of 18.
    assert counts.min() > 320 and counts.max() < 480


def test_a_share_of_each_class_is_held_out_and_never_all_of_it():
    is_held_out = held_out(LABELS, 0.1, seed=0)
    np.testing.assert_array_equal(np.bincount(LABELS[is_held_out], minlength=5), [4, 2, 1, 1, 0])
    np.testing.assert_array_equal(held_out(LABELS, 0.1, seed=0), is_held_out)
    assert (held_out(LABELS, 0.1, seed=1) != is_held_out).any()


def test_too_few_examples_of_a_class_are_named():
    names = ["ant", "bee", "cat", "dog", "eel"]
    check_shots(LABELS, names, [1], "here")
    check_shots(LABELS, names, [], "here")
    with pytest.raises(UserError, match=r"2 examples .* has fewer of 'eel' \(1\); ask for 1 at mo"):
        check_shots(LABELS, names, [2], "here")
    with pytest.raises(UserError) as error:
        check_shots(LABELS, names, [1, 5], "pets train")
    assert str(error.value) == (
        "--shots: 5 examples of each class are asked for, and pets train has fewer of 'eel' (1), "
        "'dog' (2); ask for 1 at most."
    )
    with pytest.raises(UserError, match=r"'fox' \(0\), 'eel' \(1\), 'dog' \(2\) and 1 more classe"):
        check_shots(LABELS, [*names, "fox"], [10], "pets train")
