import pickle
from collections import Counter

import numpy as np
import pytest
from PIL import ImageFilter

from mlp_vision.augment import policies
from mlp_vision.augment.policies import (
    AUTOAUGMENT,
    OPERATIONS,
    RANDAUGMENT_AMOUNTS,
    RANDAUGMENT_NAMES,
    AutoAugment,
    RandAugment,
)
from tests.mlp_vision.data.made_photos import photo

IMAGE = photo(1).resize((32, 32))
ALL = [RandAugment(2, 15), RandAugment(3, 0), AutoAugment("imagenet"), AutoAugment("cifar10")]


def result(policy, seed):
    return np.asarray(policy(IMAGE, np.random.default_rng(seed)))


@pytest.fixture
def recorded(monkeypatch):
    """What is done, as (operation, amount), in place of doing it."""
    done = []

    def record(name):
        def operation(image, amount, rng):
            done.append((name, amount))
            return image

        return operation

    monkeypatch.setattr(policies, "OPERATIONS", {name: record(name) for name in OPERATIONS})
    return done


# At level 15, as released: degrees, bits, levels, factors, slopes, pixels of 224.
AT_15 = {
    "rotate": 45, "posterize": 6, "solarize": 128, "solarize_add": 165, "color": 2.8,
    "contrast": 2.8, "brightness": 2.8, "sharpness": 2.8, "shear_x": 0.45, "shear_y": 0.45,
    "translate_x": 150 / 224, "translate_y": 150 / 224, "cutout": 60 / 224, "autocontrast": None,
    "equalize": None, "invert": None,
}  # fmt: skip


def test_a_magnitude_of_15_means_what_it_means_in_the_released_code(recorded):
    rng = np.random.default_rng(0)
    for _ in range(300):
        RandAugment(2, 15)(IMAGE, rng)
    assert len(recorded) == 600
    counts = Counter(name for name, _ in recorded)
    assert counts.keys() == AT_15.keys() and min(counts.values()) > 18  # 37.5 are expected.
    for name, amount in recorded:
        assert amount == (AT_15[name] and pytest.approx(AT_15[name]))


@pytest.mark.parametrize(
    "name, level, amount",
    [
        ("posterize", 10, 4), ("posterize", 2, 1), ("posterize", 0, 1), ("posterize", 30, 8),
        ("solarize", 10, 0), ("solarize", 5, 128), ("solarize", 9, 230), ("solarize_add", 30, 255),
        ("color", 5, 1.0), ("color", 0, 0.1), ("rotate", 0, 0.0), ("rotate", 10, 30.0),
    ],
)  # fmt: skip
def test_levels_become_amounts(name, level, amount):
    assert RANDAUGMENT_AMOUNTS[name](level) == pytest.approx(amount)


@pytest.mark.parametrize("magnitude", [0, 10, 15, 20, 30])
def test_every_operation_takes_every_magnitude(magnitude):
    for name, operation in policies.OPERATIONS.items():
        amount = RANDAUGMENT_AMOUNTS[name](magnitude)
        assert operation(IMAGE, amount, np.random.default_rng(0)).size == (32, 32)


@pytest.mark.parametrize("found_on", AUTOAUGMENT)
def test_autoaugment_takes_each_step_with_its_probability(recorded, found_on):
    pairs, amounts = AUTOAUGMENT[found_on]
    assert len(pairs) == 25
    rng = np.random.default_rng(0)
    draws = 5000
    for _ in range(draws):
        AutoAugment(found_on)(IMAGE, rng)
    expected = Counter()
    for name, probability, level in (step for pair in pairs for step in pair):
        expected[name, amounts[name](level)] += draws / 25 * probability
    seen = Counter(recorded)
    assert seen.keys() == {step for step, count in expected.items() if count > 0}
    for step, count in expected.items():
        assert abs(seen[step] - count) <= 5 * max(count, 1) ** 0.5, step


def test_the_policies_found_on_the_two_data_sets_mean_levels_differently():
    (_, imagenet), (_, cifar10) = AUTOAUGMENT["imagenet"], AUTOAUGMENT["cifar10"]
    assert imagenet["solarize"](2) == 51 and cifar10["solarize"](2) == 205
    assert imagenet["posterize"](6) == 2 and cifar10["posterize"](7) == 2
    assert 331 * imagenet["translate_y"](9) == pytest.approx(135)
    assert 32 * cifar10["translate_y"](9) == pytest.approx(9)


@pytest.mark.parametrize("policy", ALL, ids=str)
def test_a_policy_follows_its_generator_and_changes_most_pictures(policy):
    views = [result(policy, seed) for seed in range(60)]
    for seed in (0, 7):
        np.testing.assert_array_equal(views[seed], result(policy, seed))
    assert len({view.tobytes() for view in views}) > 15
    changed = np.mean([(view != np.asarray(IMAGE)).any() for view in views])
    assert changed > 0.5 and all(view.shape == (32, 32, 3) for view in views)


def test_randaugment_draws_from_the_published_sixteen_in_their_order():
    # As google-research/big_vision lists them; the operations of a seed follow from the order.
    assert RANDAUGMENT_NAMES == (
        "autocontrast", "equalize", "invert", "rotate", "posterize", "solarize", "color",
        "contrast", "brightness", "sharpness", "shear_x", "shear_y", "translate_x", "translate_y",
        "cutout", "solarize_add",
    )  # fmt: skip


@pytest.mark.parametrize("policy", ALL, ids=str)
@pytest.mark.parametrize("place", ["first", "last"])
def test_another_registered_operation_changes_no_draw(monkeypatch, policy, place):
    before = [result(policy, seed) for seed in range(50)]
    more = {"blur": lambda image, amount, rng: image.filter(ImageFilter.BLUR)}
    with_more = more | OPERATIONS if place == "first" else OPERATIONS | more
    monkeypatch.setattr(policies, "OPERATIONS", with_more)
    amounts = more | RANDAUGMENT_AMOUNTS if place == "first" else RANDAUGMENT_AMOUNTS | more
    monkeypatch.setattr(policies, "RANDAUGMENT_AMOUNTS", amounts)
    for seed, view in enumerate(before):
        np.testing.assert_array_equal(result(policy, seed), view)


@pytest.mark.parametrize("policy", ALL, ids=str)
def test_a_policy_goes_to_another_process_whole(policy):
    copy = pickle.loads(pickle.dumps(policy))
    np.testing.assert_array_equal(result(copy, 3), result(policy, 3))


def test_a_policy_is_made_by_its_name():
    assert policies.make_policy("none", 2, 15) is None
    assert policies.make_policy("randaugment", 2, 15) == RandAugment(2, 15)
    assert policies.make_policy("autoaugment_cifar10", 2, 15) == AutoAugment("cifar10")
    assert policies.make_policy("autoaugment_imagenet", 2, 15) == AutoAugment("imagenet")
