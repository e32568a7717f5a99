import errno
import fcntl
import io
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image
from sklearn.datasets import load_digits

from mlp_core.data.splits import check_split
from mlp_core.errors import MissingError, UserError
from mlp_vision.data.cifar import Cifar10, Cifar100
from mlp_vision.data.image_dataset import open_image_dataset
from mlp_vision.data.synthetic import Synthetic
from tests.conftest import ROOT
from tests.mlp_core.data.tfds.made_archive import made_archive


def rows(source):
    return source.gather(np.arange(len(source)))


def test_digits_are_the_scans_of_scikit_learn_with_a_fixed_fifth_held_out(data_dir):
    dataset = open_image_dataset("digits", data_dir)
    train, test = rows(dataset.load("train")), rows(dataset.load("test"))
    assert (len(train["label"]), len(test["label"])) == (1437, 360)
    assert train["image"].shape[1:] == (8, 8, 3)
    assert train["image"].dtype == np.uint8 and train["label"].dtype == np.int32

    scans = load_digits()
    expected = {
        (np.round(image * 255 / 16).astype(np.uint8).tobytes(), label)
        for i, (image, label) in enumerate(zip(scans.images, scans.target, strict=True))
        if i % 5 == 0
    }
    got = {
        (image[..., 0].tobytes(), label)
        for image, label in zip(test["image"], test["label"], strict=True)
    }
    assert got == expected


def test_prepared_digits_are_encoded_pictures_in_array_record(data_dir):
    dataset = open_image_dataset("digits", data_dir)
    record = dataset.builder.as_data_source(
        "train", decoders={"image": tfds.decode.SkipDecoding()}
    )[0]
    assert Image.open(io.BytesIO(record["image"])).format == "PNG"
    assert list(dataset.builder.data_path.glob("*.array_record*"))


def made_records(count, label_bytes, seed):
    """Pictures [N, 32, 32, 3], labels [N, label_bytes] and the official bytes of both."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 32, 32, 3), np.uint8)
    labels = rng.integers(0, 10, (count, label_bytes), np.uint8)
    planes = images.transpose(0, 3, 1, 2).reshape(count, -1)
    return images, labels, np.concatenate([labels, planes], 1).tobytes()


@pytest.fixture
def cifar100_archive(tmp_path, monkeypatch):
    train, test = made_records(20, 2, seed=0), made_records(7, 2, seed=1)
    coarse = "".join(f"group_{i}\n" for i in range(20)).encode()
    fine = "".join(f"class_{i}\n" for i in range(100)).encode()
    (tmp_path / "downloads").mkdir()
    archive = made_archive(
        tmp_path / "downloads" / "cifar-100-binary.tar.gz",
        {
            "cifar-100-binary/coarse_label_names.txt": coarse,
            "cifar-100-binary/fine_label_names.txt": fine,
            "cifar-100-binary/train.bin": train[2],
            "cifar-100-binary/test.bin": test[2],
        },
    )
    monkeypatch.setattr(Cifar100, "archives", {"all": archive})
    return train, test


def by_content(images, labels):
    return sorted((i.tobytes(), int(n)) for i, n in zip(images, labels, strict=True))


def test_cifar100_is_read_from_the_official_archive(tmp_path, cifar100_archive):
    (train_images, train_labels, _), (test_images, test_labels, _) = cifar100_archive
    dataset = open_image_dataset("cifar100", str(tmp_path))
    train, test = rows(dataset.load("train")), rows(dataset.load("test"))
    # A record holds the coarse label, then the fine one.
    assert by_content(train["image"], train["label"]) == by_content(
        train_images, train_labels[:, 1]
    )
    assert by_content(test["image"], test["label"]) == by_content(test_images, test_labels[:, 1])
    assert dataset.num_classes == 100 and dataset.class_names[3] == "class_3"


def test_cifar10_is_read_from_the_official_archive(tmp_path, monkeypatch):
    parts = [made_records(4, 1, seed=i) for i in range(6)]
    files = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
    (tmp_path / "downloads").mkdir()
    archive = made_archive(
        tmp_path / "downloads" / "cifar-10-binary.tar.gz",
        {
            f"cifar-10-batches-bin/{name}": content
            for name, content in {
                "batches.meta.txt": "".join(f"class_{i}\n" for i in range(10)).encode() + b"\n",
                **{name: part[2] for name, part in zip(files, parts, strict=True)},
            }.items()
        },
    )
    monkeypatch.setattr(Cifar10, "archives", {"all": archive})
    dataset = open_image_dataset("cifar10", str(tmp_path))
    train = rows(dataset.load("train"))
    expected = by_content(
        np.concatenate([p[0] for p in parts[:5]]), np.concatenate([p[1][:, 0] for p in parts[:5]])
    )
    assert by_content(train["image"], train["label"]) == expected
    assert len(dataset.load("test")) == 4


def test_two_first_runs_at_once_both_get_the_data_set(tmp_path, monkeypatch):
    started = threading.Barrier(2)

    def open_at_once(_):
        started.wait()
        return open_image_dataset("synthetic", str(tmp_path))

    generated = []

    def slowly(self, split, generate=Synthetic._generate_examples):
        generated.append(split)
        time.sleep(0.3)
        yield from generate(self, split)

    monkeypatch.setattr(Synthetic, "_generate_examples", slowly)
    with ThreadPoolExecutor(2) as pool:  # Two open files exclude each other in threads as well.
        datasets = list(pool.map(open_at_once, range(2)))
    assert [len(dataset.load("test")) for dataset in datasets] == [100, 100]
    assert generated == ["train", "test"]


def test_data_are_prepared_on_a_file_system_without_locks(tmp_path, monkeypatch):
    def no_locks(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    assert len(open_image_dataset("synthetic", str(tmp_path)).load("test")) == 100


def test_an_archive_that_is_not_the_published_one_is_refused(tmp_path):
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / "cifar-100-binary.tar.gz").write_bytes(b"<html>error</html>")
    with pytest.raises(UserError, match="cifar-100-binary.tar.gz: 18 bytes long, but.*168,513,733"):
        open_image_dataset("cifar100", str(tmp_path))


def test_a_directory_that_tfds_prepared_is_used_as_it_is(data_dir, tmp_path):
    prepared = open_image_dataset("digits", data_dir).builder.data_path
    by_path = open_image_dataset(str(prepared), None)
    assert len(by_path.load("train[:10%]")) == 144
    assert len(by_path.load("test[:5]")) == 5


@pytest.mark.parametrize("split", ["train", "test", "train[30%:80%]"])
def test_tfrecords_are_read_as_tfds_reads_them_with_tensorflow(split):
    """tests/data/tfds/tiny was written, and tiny_expected.npz read back, with TensorFlow 2.21."""
    folder = ROOT / "tests" / "data" / "tfds"
    got = rows(open_image_dataset("tiny", str(folder)).load(split))
    expected = np.load(folder / "tiny_expected.npz")
    wanted = expected["split"] == split
    np.testing.assert_array_equal(got["image"], expected["image"][wanted])
    np.testing.assert_array_equal(got["label"], expected["label"][wanted])


def test_tfrecords_cut_short_are_refused(tmp_path):
    shutil.copytree(ROOT / "tests" / "data" / "tfds" / "tiny", tmp_path / "tiny")
    file = next((tmp_path / "tiny").rglob("tiny-train.tfrecord-00001*"))
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(UserError, match="cut short"):
        open_image_dataset("tiny", str(tmp_path)).load("train")


def test_tfrecords_cut_between_two_records_are_refused(tmp_path):
    shutil.copytree(ROOT / "tests" / "data" / "tfds" / "tiny", tmp_path / "tiny")
    next((tmp_path / "tiny").rglob("tiny-train.tfrecord-00001*")).write_bytes(b"")
    with pytest.raises(UserError, match="12 examples in split train, not 23"):
        open_image_dataset("tiny", str(tmp_path)).load("train")


def test_damaged_array_records_are_told_in_a_sentence(data_dir, tmp_path):
    prepared = open_image_dataset("digits", data_dir).builder.data_path
    shutil.copytree(prepared, tmp_path / "digits" / "1.0.0")
    next(tmp_path.rglob("digits-train*")).write_bytes(b"damaged")
    with pytest.raises(UserError, match="'?digits'? cannot be read"):
        open_image_dataset("digits", str(tmp_path)).load("train")


def test_splits_that_are_not_there_or_empty_are_refused(data_dir):
    dataset = open_image_dataset("digits", data_dir)
    check_split("config.data.train_split", dataset, "train[:98%]")
    for split in ("validation", "train[nonsense]"):
        with pytest.raises(UserError, match="config.data.train_split: digits has no split"):
            check_split("config.data.train_split", dataset, split)
    with pytest.raises(UserError, match="holds no example"):
        check_split("config.data.train_split", dataset, "train[:0]")


def test_an_unknown_data_set_is_refused_with_what_would_prepare_it(data_dir):
    with pytest.raises(MissingError, match=r"(?s)'svhn_cropped' is not prepared.*\[prepare\]"):
        open_image_dataset("svhn_cropped", data_dir)


@pytest.mark.slow
def test_real_cifar10_prepared_by_tfds_is_read(real_data, tmp_path):
    script = real_data / "cifar10" / "make_tfds.py"
    subprocess.run([sys.executable, script, tmp_path], check=True, capture_output=True)
    dataset = open_image_dataset("cifar10", str(tmp_path / "tfds"))
    assert len(dataset.load("train[:98%]")) == 49_000
    assert np.bincount(rows(dataset.load("test"))["label"]).tolist() == [1000] * 10
