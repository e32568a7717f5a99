import re

import pytest
from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from mlp_core.errors import UserError
from mlp_core.runs.grid import at_point, describe, fields_of, folder_name, parse_grid, portable_name

CONFIG = ConfigDict(
    {
        "seed": 0,
        "schedule": {"peak_learning_rate": 0.1, "warmup": "0 steps"},
        "model": {"num_blocks": placeholder(int)},
        "augment": {"flip": False},
        "data": {"value_range": (0.0, 1.0)},
        "sweep": {"grid": (), "train_split": placeholder(str)},
    }
).lock()


@pytest.mark.parametrize(
    "entry, values",
    {
        "schedule.peak_learning_rate=0.003,1e-2,3": [0.003, 0.01, 3.0],
        "seed=0,7": [0, 7],
        "model.num_blocks=2": [2],
        "augment.flip=true,False": [True, False],
        "schedule.warmup=5 steps, 1 epoch": ["5 steps", "1 epoch"],
        "schedule.peak_learning_rate=0.1,0.10": [0.1],
    }.items(),
)
def test_values_are_read_as_the_type_of_their_field(entry, values):
    points = parse_grid(CONFIG, [entry])
    field = entry.split("=")[0]
    assert [point[field] for point in points] == values
    assert all(type(point[field]) is type(values[0]) for point in points)


def test_several_entries_mean_all_combinations():
    points = parse_grid(CONFIG, ["seed=0,1", "schedule.warmup=5,6 steps"])
    assert [tuple(point.values()) for point in points] == [
        (0, "5"), (0, "6 steps"), (1, "5"), (1, "6 steps")
    ]  # fmt: skip


@pytest.mark.parametrize(
    "entries, message",
    [
        ([], "nothing to sweep"),
        (["schedule.peak_learning_rat=1"], "no field 'schedule.peak_learning_rat'"),
        (["learning_rate=1"], "no field 'learning_rate'"),
        (["seed.more=1"], "no field 'seed.more'"),
        (["=1"], "no field ''"),
        (["schedule=1"], "schedule cannot be swept"),
        (["data.value_range=1"], "data.value_range cannot be swept"),
        (["sweep.train_split=train"], "sweep.train_split cannot be swept"),
        (["seed=0.5"], "'0.5' is no int"),
        (["seed"], "'' is no int"),
        (["schedule.peak_learning_rate=0.1,"], "'' is no float"),
        (["augment.flip=perhaps"], "'perhaps' is no bool"),
        (["seed=1", "seed=2"], "seed has values already"),
        (["schedule.warmup=5 steps,5_steps"], "one directory name"),
    ],
)
def test_a_grid_that_cannot_be_swept_is_refused(entries, message):
    with pytest.raises(UserError, match="--grid") as error:
        parse_grid(CONFIG, entries)
    assert message in str(error.value)


def test_a_point_changes_a_copy():
    changed = at_point(CONFIG, {"schedule.peak_learning_rate": 0.5, "model.num_blocks": 3})
    assert changed.schedule.peak_learning_rate == 0.5 and changed.model.num_blocks == 3
    assert CONFIG.schedule.peak_learning_rate == 0.1 and CONFIG.model.num_blocks is None


PORTABLE = re.compile("[A-Za-z0-9._=-]{1,99}")


def test_folder_names_are_readable_and_tell_their_fields():
    assert describe({"seed": 1, "a.b": 0.003}) == "seed=1, a.b=0.003"
    point = {"schedule.peak_learning_rate": 1e-5, "schedule.warmup": "5 steps", "seed": -1}
    name = folder_name(point)
    assert name == "schedule.peak_learning_rate=1e-05__schedule.warmup=5_steps__seed=-1"
    assert fields_of(name) == list(point)
    assert folder_name({"a": 1e30}) == "a=1e30"
    split = {"model.num_blocks": 2, "data.train_split": "train[:50%]"}
    name = folder_name(split)
    assert name.startswith("model.num_blocks=2__data.train_split=train_50_-")
    assert fields_of(name) == list(split)
    assert fields_of("a.b=train[:50%],schedule.warmup=5_steps") == ["a.b", "schedule.warmup"]
    assert fields_of("best") == [] and fields_of("sweep.md") == []


VALUES = [
    *("train[:50%]", "train[50%:]", "train_50_", "a/b", "a_b", "a b", "a\\b", "a\nb", "a=b", "a,b"),
    *("*", "?", "", " ", "..", "../x", "~", "$HOME", "é", "ü", "'q'", '"d"', "a__b=c", "\udcff"),
    *("x" * 300, "x" * 299, "x" * 298 + "y", "mixer_b16", "2.5 epochs", "-rf", "a:b", "a|b;c&d#e"),
]


def test_folder_names_are_portable_short_and_differ():
    names = [folder_name({"model.name": value}) for value in VALUES]
    assert all(PORTABLE.fullmatch(name) for name in names)
    assert len(set(names)) == len(VALUES)
    assert names == [folder_name({"model.name": value}) for value in VALUES]
    many = {f"group.long_name_of_field_{i}": 0.1 * i for i in range(9)}
    others = [many | {"group.long_name_of_field_8": value} for value in (0.5, 0.6)]
    names = [folder_name(point) for point in others]
    assert all(PORTABLE.fullmatch(name) for name in names) and len(set(names)) == 2


def test_names_of_experiments_become_portable_and_differ():
    texts = ["small", "small_hot", "small hot", "-x", ".x", "my [one]*", "my (one)", "n" * 200]
    names = [portable_name(text) for text in texts]
    assert names[:2] == texts[:2] and len(set(names)) == len(texts)
    assert all(PORTABLE.fullmatch(name) and name[0] not in "-." for name in names)
