import os
import shutil

import numpy as np
import pytest

from mlp_core.data.splits import check_split
from mlp_core.errors import UserError
from mlp_vision.data.host_views import EvalView
from mlp_vision.data.image_dataset import open_image_dataset, open_source
from tests.mlp_vision.data.made_photos import encoded, photo, write_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("animals"))


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def names(dataset, split):
    records = dataset.records(split)
    return [records.name(i) for i in range(len(records))]


def test_classes_and_splits_are_the_names_of_the_folders(folder):
    dataset = open_image_dataset(str(folder), None)
    assert dataset.class_names == ["cat", "dog"] and dataset.num_classes == 2
    assert sorted(dataset.splits) == ["test", "train"] and not dataset.in_memory
    assert dataset.num_examples("train") == 24
    records = dataset.records("test")
    for i in range(len(records)):
        content, label = records[i]
        assert content == (folder / records.name(i)).read_bytes()
        assert records.name(i).split("/")[:2] == ["test", ["cat", "dog"][label]]


def test_splits_are_cut_and_added_as_tfds_does(folder):
    dataset = open_image_dataset(str(folder), None)
    whole = names(dataset, "train")
    assert names(dataset, "train[:75%]") + names(dataset, "train[75%:]") == whole
    assert names(dataset, "train[-5:]") == whole[-5:]
    assert names(dataset, "test[:2]+train[3:4]") == names(dataset, "test")[:2] + whole[3:4]
    assert dataset.num_examples("train+test") == 48
    for split in ("validation", "train[", "train[:200%]", "all[:5]"):
        with pytest.raises(UserError, match="config.data.train_split: .* has no split"):
            check_split("config.data.train_split", dataset, split)
    with pytest.raises(UserError, match="holds no example"):
        check_split("config.data.train_split", dataset, "train[5:5]")


def test_the_order_mixes_classes_and_follows_from_the_names_alone(folder, tmp_path):
    order = names(open_image_dataset(str(folder), None), "train")
    assert 3 <= sum("cat" in name for name in order[:12]) <= 9
    for name in reversed(order):  # The same files, made in another order.
        touch(tmp_path / name)
    assert names(open_image_dataset(str(tmp_path), None), "train") == order


def test_imagenets_tree_is_found_with_val_as_validation(tmp_path):
    for name in ("train/n01440764/n01440764_10026.JPEG", "train/n01443537/n01443537_2.JPEG",
                 "val/n01443537/ILSVRC2012_val_00000236.JPEG"):  # fmt: skip
        touch(tmp_path / name)
    touch(tmp_path / "test" / "ILSVRC2012_test_00000001.JPEG")  # Has no labels; nobody asks.
    dataset = open_image_dataset(str(tmp_path), None)
    assert dataset.class_names == ["n01440764", "n01443537"]
    for split in ("validation", "val", "validation[:50%]+validation[50%:]"):
        assert names(dataset, split) == ["val/n01443537/ILSVRC2012_val_00000236.JPEG"]
        assert dataset.records(split)[0][1] == 1
    with pytest.raises(UserError, match="test has no class folder. Expected: "):
        check_split("config.data.eval_splits.test", dataset, "test")


def test_only_pictures_count_in_whatever_folder_below_a_class(tmp_path):
    wanted = ["train/a/1.jpg", "train/a/2.JPEG", "train/a/deep/er/3.PNG", "train/b/4.webp",
              "train/b/5.gif", "train/b/6.bmp"]  # fmt: skip
    unwanted = ["train/a/.hidden.jpg", "train/a/.DS_Store", "train/b/Thumbs.db",
                "train/b/notes.txt", "train/.git/x.jpg", "train/list.txt", "readme.md",
                "train/stray.jpg", "train/a/.thumbnails/1.jpg"]  # fmt: skip
    for name in wanted + unwanted:
        touch(tmp_path / name)
    assert sorted(names(open_image_dataset(str(tmp_path), None), "train")) == wanted


def test_class_folders_without_splits_are_one_split_whose_parts_mix_the_classes(tmp_path):
    for name in ("cat", "dog", "emu"):
        for i in range(200):
            touch(tmp_path / name / f"{i}.jpg")
    touch(tmp_path / "dog" / "deep" / "200.jpg")
    dataset = open_image_dataset(str(tmp_path), None)
    assert dataset.class_names == ["cat", "dog", "emu"] and dataset.splits == ["train"]
    rest = names(dataset, "train[90%:]")
    assert sorted(names(dataset, "train[:90%]") + rest) == sorted(names(dataset, "train"))
    assert len(rest) == 60 and all(10 <= sum(c in n for n in rest) <= 30 for c in ("cat", "emu"))
    assert "dog/deep/200.jpg" in names(dataset, "train")
    again = open_image_dataset(str(shutil.copytree(tmp_path, tmp_path.with_name("moved"))), None)
    assert names(again, "train[90%:]") == rest
    remedy = (
        "no split 'test' .* set --config.data.eval_splits.test='train.90%:.' and "
        "--config.data.train_split='train.:90%.'"
    )
    with pytest.raises(UserError, match=remedy):
        check_split("config.data.eval_splits.test", dataset, "test")


def test_splits_with_odd_names_are_read_and_counted(tmp_path):
    for name in ("train/a/1.jpg", "train/b/2.jpg", "test-2/a/3.jpg", "test[x]/b/4.jpg", "notes/5"):
        touch(tmp_path / name)
    dataset = open_image_dataset(str(tmp_path), None)
    assert names(dataset, "test_2") == ["test-2/a/3.jpg"]
    assert names(dataset, "test_x_") == ["test[x]/b/4.jpg"]
    there = r"it has notes \(unreadable\), train \(2\), test_2 \(1\), test_x_ \(1\)\."
    with pytest.raises(UserError, match=there):
        check_split("split", dataset, "test-2")


@pytest.mark.parametrize("split", ["Train", "training", "val", "Test", "dev"])
def test_folders_called_as_splits_are_no_classes(tmp_path, split):
    for name in (split, "more"):
        touch(tmp_path / name / "1.jpg")
    with pytest.raises(UserError, match=f"has no folder `train`; it has .*{split}"):
        open_image_dataset(str(tmp_path), None)


def test_numbers_are_in_the_order_of_numbers(tmp_path):
    for i in range(12):
        touch(tmp_path / "train" / f"{i}" / f"{i}.jpg")
    dataset = open_image_dataset(str(tmp_path), None)
    assert dataset.class_names == [str(i) for i in range(12)]
    records = dataset.records("train")
    assert all(records.file_name(i) == f"{records._labels[i]}.jpg" for i in range(12))


def test_folders_named_as_pictures_are_folders(tmp_path):
    wanted = ["train/a/1.jpg", "train/a/x.png/2.jpg", "train/b.jpg/3.jpg"]
    for name in wanted:
        touch(tmp_path / name)
    assert sorted(names(open_image_dataset(str(tmp_path), None), "train")) == wanted


def test_names_that_are_not_utf_8_are_spelt_out(tmp_path, capsys):
    for name in (b"train/caf\xe9/\xff.jpg", b"train/tea/1.jpg", b"train/tea/x.\xfe"):
        touch(tmp_path / os.fsdecode(name))
    (tmp_path / os.fsdecode(b"train/caf\xe9/\xff.jpg")).write_bytes(encoded(photo(0)))
    dataset = open_image_dataset(str(tmp_path), None)
    assert dataset.class_names == [r"caf\xe9", "tea"]
    records = dataset.records("train")
    (i,) = (i for i in range(2) if "caf" in records.name(i))
    assert records.name(i) == r"train/caf\xe9/\xff.jpg"
    assert records[i] == (encoded(photo(0)), 0)
    assert r".\xfe" in capsys.readouterr().out


def test_classes_come_from_the_only_split_where_there_is_no_train(tmp_path):
    for name in ("test/a/1.jpg", "test/b/2.jpg"):
        touch(tmp_path / name)
    assert open_image_dataset(str(tmp_path), None).class_names == ["a", "b"]


MISTAKES = {
    "no split": (
        ["cat/1/1.jpg", "dog/2/2.jpg"],
        "has no folder `train`; it has cat, dog. Expected: .* or .*/CLASS/",
    ),
    "splits without classes": (
        ["train/cat.1.jpg", "train/dog.1.jpg", "test/1.jpg"],
        "train has no class folder; there must be two or more. Expected",
    ),
    "one class, no split": (["cat/1.jpg"], "only the class folder cat; there must be two or more"),
    "empty class, no split": (["cat/1.jpg", "dog/1.txt"], r"no picture \(.jpg.*/dog; fill"),
    "nothing": (["readme.txt"], "has no folder `train`; it has none. Expected: .*/train/CLASS"),
    "no class": (["train/1.jpg"], "train has no class folder; there must be two or more. Expected"),
    "one class": (["train/a/1.jpg"], "only the class folder a; there must be two or more"),
    "empty class": (["train/a/1.jpg", "train/b/1.txt"], r"no picture \(.jpg.*/train/b; fill"),
    "foreign class": (
        ["train/a/1.jpg", "train/b/2.jpg", "test/c/3.jpg"],
        "test has class folders that .*/train has not: c;",
    ),
    "version above": (["1.0.0/dataset_info.json"], "TFDS has prepared .*1.0.0 in .*; name that"),
}


@pytest.mark.parametrize("files, message", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_folder_built_otherwise_is_refused_with_what_is_expected(tmp_path, files, message):
    for name in files:
        touch(tmp_path / name)
    with pytest.raises(UserError, match=message) as error:
        dataset = open_image_dataset(str(tmp_path), None)
        check_split("config.data.eval_splits.test", dataset, "test")
    assert str(tmp_path) in str(error.value)


def test_a_path_where_nothing_is_and_a_folder_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(UserError, match="there is no folder .*/nope"):
        open_image_dataset(str(tmp_path / "nope"), None)


def test_a_data_set_of_ours_wins_over_a_folder_of_its_name(tmp_path, monkeypatch, data_dir):
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    assert open_image_dataset("digits", data_dir).num_classes == 10


def test_links_to_files_classes_and_folders_below_a_class_are_followed(tmp_path):
    store = tmp_path / "store"
    for name in ("x.jpg", "more/y.jpg"):
        touch(store / name)
    (store / "x.jpg").write_bytes(encoded(photo(0)))
    for name in ("a", "b"):
        (tmp_path / "data" / "train" / name).mkdir(parents=True)
    train = tmp_path / "data" / "train"
    (train / "a" / "1.jpg").symlink_to(store / "x.jpg")
    (train / "b" / "all").symlink_to(store)
    (train / "c").symlink_to(store)
    dataset = open_image_dataset(str(tmp_path / "data"), None)
    assert sorted(names(dataset, "train")) == [
        f"train/{n}"
        for n in ("a/1.jpg", "b/all/more/y.jpg", "b/all/x.jpg", "c/more/y.jpg", "c/x.jpg")
    ]
    (i,) = (i for i in range(5) if dataset.records("train").name(i) == "train/b/all/x.jpg")
    assert dataset.records("train")[i] == (encoded(photo(0)), 1)


def test_real_pets_are_read(real_data):
    dataset = open_image_dataset(str(real_data / "pets"), None)
    assert dataset.class_names == ["Abyssinian", "Bengal", "american_bulldog"]
    assert dataset.num_examples("train") == 300 and dataset.num_examples("test") == 298
    source = open_source(dataset, "test[:40]", EvalView(64, "timm"))
    batch = source.gather(np.arange(40))
    assert batch["image"].shape == (40, 64, 64, 3) and batch["mask"].sum() == 40
    assert set(batch["label"]) == {0, 1, 2}
    assert batch["image"].std() > 40 and 80 < batch["image"].mean() < 160
