"""The order of class names, and labels matched with a model's outputs."""

import itertools
from types import SimpleNamespace

import pytest

from mlp_core.data.classes import (
    assumed_order,
    class_conflict,
    in_class_order,
    names_for_labels,
    numbers_in,
)
from mlp_core.errors import UserError

NUMBERS = [str(i) for i in range(12)]


@pytest.mark.parametrize(
    "names",
    [
        NUMBERS,
        [f"{i:02d}" for i in range(12)],
        ["01", "1", "2", "010", "10", "100"],
        ["-10", "-2", "-1", "0", "3", "20"],
        [f"class_{i}" for i in range(12)],
        [f"class-{i}" for i in range(12)],
        ["2_cat", "10_ant", "10_bee"],
        ["0.25", "0.5", "1.0"],
        ["n01440764", "n01443537", "n15075141"],
        ["Zebra", "ant", "bee"],
        ["1", "10", "2", "cat"],  # Words and numbers.
        ["a10", "a2", "b1"],  # Not the same letters.
        ["-0.5", "0.5", "10.5", "2.5"],
        ["1" * 5000, "2"],
        ["\u0661", "\u0661\u0660", "\u0662"],  # Digits of another script.
    ],
)
def test_numbers_are_in_their_order_and_all_else_in_that_of_text(names):
    for order in itertools.islice(itertools.permutations(names), 50):
        assert in_class_order(order) == names
    assert in_class_order(set(names)) == names


def model(*names, num_classes=None):
    return SimpleNamespace(num_classes=num_classes or len(names), class_names=names)


def data(*names):
    return SimpleNamespace(name="pets", class_names=list(names))


@pytest.mark.parametrize(
    "there, wanted",
    [
        (("cat", "dog"), ("cat", "dog")),
        (("dog", "cat"), ("cat", "dog")),
        (("dog", "cat", "emu"), ("cat", "dog")),
        (("0", "1", "10", "2"), ("0", "1", "2", "10")),
        (tuple(NUMBERS), ("3", "7")),
    ],
)
def test_labels_count_the_models_classes_by_name(there, wanted):
    assert names_for_labels("run", model(*there), data(*wanted)) == there
    line = assumed_order("run", model(*there), data(*wanted))
    assert ("matched by name" in line) == (there != wanted)


@pytest.mark.parametrize("there", [(), ("0", "1", "2")])
def test_where_weights_name_no_classes_the_order_is_assumed_and_told(there):
    weights, pets = model(*there, num_classes=3), data("ant", "bee", "cat")
    assert names_for_labels("w.npz", weights, pets) == pets.class_names
    line = assumed_order("w.npz", weights, pets)
    assert "w.npz names no classes; assumes that its 3 outputs are" in line
    assert line.endswith("in this order, ant, bee, cat")
    with pytest.raises(UserError, match="its head is for 3 classes, pets has 2"):
        names_for_labels("w.npz", weights, data("ant", "bee"))


def test_the_assumed_order_of_numbers_shows_more_than_the_first_two():
    line = assumed_order("w.npz", model(num_classes=12), data(*NUMBERS))
    assert line.endswith("are, in this order, 0, 1, 2, 3, ..., 11")
    line = assumed_order("w.npz", model(num_classes=1000), data("cat", "dog"))
    assert "its first 2 of 1,000 outputs are, in this order, cat, dog" in line


def test_a_data_set_that_numbers_its_classes_is_matched_by_position():
    assert names_for_labels("run", model("cat", "dog"), data("0", "1")) == ["0", "1"]
    line = assumed_order("run", model("cat", "dog"), data("0", "1"))
    assert "pets names no classes; assumes that its labels count, in this order, cat, dog" in line


def test_a_class_that_the_model_lacks_is_refused():
    for wanted in (("cat", "hamster"), ("hamster",), ("0", "1", "10")):
        with pytest.raises(UserError, match=f"'{'hamster|0'}' is not among its 2, cat, dog"):
            names_for_labels("run", model("cat", "dog"), data(*wanted))


def test_numbers_of_another_kind_are_no_positions():
    numbers = [str(i) for i in range(1, 13)]
    with pytest.raises(UserError, match="'12' is not among its 12, 0, 1, 2, 3, ..., 11"):
        names_for_labels("run", model(*NUMBERS), data(*numbers))
    padded = [f"{i:02d}" for i in range(12)]
    assert names_for_labels("run", model(*NUMBERS), data(*padded)) == padded
    assert names_for_labels("w.npz", model(num_classes=12), data(*numbers)) == numbers


@pytest.mark.parametrize(
    "there, wanted, conflict",
    [
        (("cat", "dog"), ("cat", "dog"), ""),
        ((), ("cat", "dog"), ""),
        (("cat", "dog"), (), ""),
        (("0", "1"), ("cat", "dog"), ""),
        (("0", "1", "2"), ("0", "1"), ""),
        (("cat", "dog"), ("dog", "cat"), "in another order, beginning with 'cat'"),
        (("cat", "dog", "emu"), ("cat", "dog"), "it has 3, of which 2"),
        (("cat", "dog"), ("cat", "emu"), "'emu' is not among its 2"),
        (("0", "1", "10", "2"), ("0", "1", "2"), "it has 4, of which 3"),
        (("0", "1"), ("1", "2"), "'2' is not among its 2"),
    ],
)
def test_a_head_is_kept_for_the_same_classes_in_the_same_order(there, wanted, conflict):
    found = class_conflict(there, wanted)
    assert conflict in found and bool(found) == bool(conflict)


def test_numbers_are_those_of_the_names():
    assert numbers_in(["b", "a", "c"], ["c", "b"]) == [2, 0]
