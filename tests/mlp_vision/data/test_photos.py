import dataclasses
import functools
import io
import shutil
from contextlib import closing

import numpy as np
import pytest
import tensorflow_datasets as tfds

from mlp_core.data.pipeline import eval_batches, train_batches
from mlp_core.errors import UserError
from mlp_vision.augment.policies import RandAugment
from mlp_vision.data.host_views import EvalView, TrainView
from mlp_vision.data.image_dataset import open_image_dataset, open_source
from mlp_vision.data.photos import PhotoSource
from mlp_vision.data.pictures import open_picture
from tests.mlp_vision.data.made_photos import BAD_FILES, encoded, photo, write_folder

TRAIN = TrainView(16, "inception", 0.2, 4)
EVAL = EvalView(16, "resmall_crop")


class Photos:
    """Made photographs held in memory, some of them replaced by bad ones."""

    def __init__(self, count, bad=()):
        contents = list(BAD_FILES.values())
        self.photos = [
            contents[i % len(contents)] if i in bad else encoded(photo(i)) for i in range(count)
        ]

    def __len__(self):
        return len(self.photos)

    def __getitem__(self, index):
        return self.photos[index], index

    def name(self, index):
        return f"photo {index}"


def batches(source, first_step=0, total_steps=6):
    return list(train_batches(source, 8, 0, first_step, total_steps))


def assert_same(a, b):
    assert len(a) == len(b) > 0
    for one, other in zip(a, b, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize("policy", [None, RandAugment(2, 15)], ids=str)
def test_a_batch_is_the_same_with_one_thread_and_with_eight(policy):
    view = dataclasses.replace(TRAIN, policy=policy)
    sources = [PhotoSource("made", Photos(20, bad=[3]), view, 0, threads) for threads in (1, 8)]
    assert_same(*map(batches, sources))


def test_a_run_that_goes_on_sees_the_views_it_would_have_seen():
    make = functools.partial(PhotoSource, "made", Photos(20, bad=[3, 4]), TRAIN, 0)
    assert_same(batches(make(), first_step=4), batches(make())[4:])


def test_views_differ_between_epochs_and_seeds():
    indices, one, two = np.zeros(1, int), np.array([5]), np.array([25])
    source = PhotoSource("made", Photos(2), TRAIN, 0)
    first = source.gather(indices, one)["image"]
    np.testing.assert_array_equal(first, source.gather(indices, one)["image"])
    assert (first != source.gather(indices, two)["image"]).any()
    assert (first != PhotoSource("made", Photos(2), TRAIN, 1).gather(indices, one)["image"]).any()


def test_evaluation_sees_every_picture_as_the_preset_cuts_it():
    records = Photos(10)
    source = PhotoSource("made", records, EVAL)
    seen = [
        (image, label)
        for batch in eval_batches(source, 4)
        for image, label, real in zip(*(batch[k] for k in ("image", "label", "mask")), strict=True)
        if real
    ]
    assert [label for _, label in seen] == list(range(10))
    for image, label in seen:
        np.testing.assert_array_equal(image, EVAL(open_picture(records[label][0])))


def test_a_few_bad_pictures_are_replaced_in_training_and_told_once(capsys):
    source = PhotoSource("made, train", Photos(24, bad=[3, 7]), TRAIN, 0)
    labels = np.concatenate([batch["label"] for batch in batches(source, total_steps=12)])
    assert len(labels) == 96 and not {3, 7} & set(labels)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert "made, train: photo 3 is cut short; another takes its place (" in "\n".join(lines)
    assert lines[1].endswith("(2 so far)")


def test_bad_pictures_are_left_out_of_evaluation(capsys):
    source = PhotoSource("made, test", Photos(10, bad=[0, 4]), EVAL)
    seen = [label for b in eval_batches(source, 4) for label in b["label"][b["mask"] == 1]]
    assert seen == [1, 2, 3, 5, 6, 7, 8, 9]
    assert "photo 4 is an empty file; it is not scored" in capsys.readouterr().out


@pytest.mark.parametrize("view", [TRAIN, EVAL])
def test_many_bad_pictures_stop_the_run(view):
    source = PhotoSource("made", Photos(24, bad=range(0, 24, 3)), view)
    with pytest.raises(UserError, match=r"made: 6 of 24 pictures cannot be .*only 5 .* photo \d+"):
        if view is TRAIN:
            batches(source)
        else:
            list(eval_batches(source, 8))


def test_one_per_cent_of_a_large_split_is_let_pass(capsys):
    records = Photos(8, bad=[0, 1, 2, 3, 4, 5])
    records.photos *= 100  # 800 pictures.
    source = PhotoSource("made", records, EVAL)
    assert source.gather(np.arange(8))["mask"].tolist() == [0, 0, 0, 0, 0, 0, 1, 1]
    with pytest.raises(UserError, match="9 of 800"):
        source.gather(np.arange(8, 16))


def test_a_split_of_nothing_but_bad_pictures_ends():
    source = PhotoSource("made", Photos(3, bad=range(3)), TRAIN)
    with pytest.raises(UserError, match="in a row"):
        source.gather(np.arange(3), np.arange(3))


class Sized(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Photographs with a second picture and a file name, as Oxford-IIIT Pets has them."""

    name = "sized"
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "label": tfds.features.ClassLabel(names=["cat", "dog"]),
            "file_name": tfds.features.Text(),
            "segmentation_mask": tfds.features.Image(shape=(None, None, 1)),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {
            "train": self._generate_examples(range(10)),
            "test": self._generate_examples(range(10, 14)),
        }

    def _generate_examples(self, seeds):
        for i in seeds:
            yield (
                i,
                {
                    "image": io.BytesIO(BAD_FILES["page.jpg"] if i == 12 else encoded(photo(i))),
                    "label": -1 if i == 9 else i % 2,
                    "file_name": f"{i}.jpg",
                    "segmentation_mask": io.BytesIO(b"never looked at"),
                },
            )


@pytest.fixture(scope="module")
def sized(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("sized"))
    Sized(data_dir=folder, file_format="array_record").download_and_prepare()
    return open_image_dataset("sized", folder)


def test_photographs_that_tfds_prepared_are_read(sized, capsys):
    assert not sized.in_memory and sized.class_names == ["cat", "dog"]
    source = open_source(sized, "test", EVAL)
    batch = source.gather(np.arange(4))
    assert batch["mask"].sum() == 3
    expected = {(EVAL(photo_of(i)).tobytes(), i % 2) for i in (10, 11, 13)}
    got = zip(batch["image"], batch["label"], strict=True)
    good = [(image.tobytes(), label) for image, label in got]
    assert {good[i] for i in np.flatnonzero(batch["mask"])} == expected
    assert "(12.jpg) is a web page" in capsys.readouterr().out


@pytest.mark.parametrize("left", [None, 0, 1000], ids=["gone", "empty", "cut short"])
def test_a_file_of_tfds_that_disappears_while_training_ends_the_run(sized, tmp_path, left):
    folder = shutil.copytree(sized.builder.data_path, tmp_path / "sized" / "1.0.0")
    source = open_source(open_image_dataset(str(folder), None), "train[:9]", TRAIN)
    (file,) = folder.glob("sized-train.array_record*")
    content = file.read_bytes()
    file.unlink()
    if left is not None:
        file.write_bytes(content[:left])
    with pytest.raises(UserError, match="^data set '.*sized/1.0.0' cannot be read"):
        batches(source)


def test_a_folder_of_pictures_that_disappears_while_training_ends_the_run(tmp_path):
    folder = write_folder(tmp_path / "photos")
    source = open_source(open_image_dataset(str(folder), None), "train", TRAIN)
    with closing(train_batches(source, 8, 0, 0, 100)) as it:
        next(it)
        shutil.rmtree(folder)
        with pytest.raises(UserError, match="pictures cannot be read.*No such file"):
            list(it)


def photo_of(seed):
    return open_picture(encoded(photo(seed)))


def test_a_photograph_without_a_label_is_refused(sized):
    source = open_source(sized, "train", TRAIN)
    with pytest.raises(UserError, match=r"example \d+ \(9.jpg\) has no label between 0 and 1"):
        source.gather(np.arange(10), np.arange(10))


def test_photographs_without_random_access_are_refused(sized, tmp_path, monkeypatch):
    monkeypatch.setattr(type(sized.builder.info), "file_format", tfds.core.FileFormat.TFRECORD)
    with pytest.raises(UserError, match="lie in tfrecord files.*launch/prepare.py"):
        open_image_dataset(str(sized.builder.data_path), None)
