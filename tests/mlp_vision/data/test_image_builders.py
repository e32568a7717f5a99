"""Builders that read published archives: what arrives, and what is refused."""

import io

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from mlp_core.errors import UserError
from mlp_core.weights.downloads import DownloadError
from mlp_vision.data.cifar import Cifar10, Cifar100
from mlp_vision.data.flowers import Flowers102
from mlp_vision.data.image_codec import BadPictureError, as_jpeg, decode_rgb
from mlp_vision.data.pets import Pets
from tests.mlp_core.data.tfds.made_archive import made_archive
from tests.mlp_vision.data.made_archives import made_flowers, made_pets, picture


@pytest.fixture
def pets(tmp_path, monkeypatch):
    archives, contents = made_pets(tmp_path / "downloads")
    monkeypatch.setattr(Pets, "archives", archives)
    return Pets(data_dir=str(tmp_path), file_format="array_record"), contents


@pytest.fixture
def flowers(tmp_path, monkeypatch):
    archives, contents = made_flowers(tmp_path / "downloads")
    monkeypatch.setattr(Flowers102, "archives", archives)
    return Flowers102(data_dir=str(tmp_path), file_format="array_record"), contents


def prepared(builder, split):
    """The examples of a split by file name, as any TFDS reader sees them; pictures encoded."""
    builder.download_and_prepare()
    reader = tfds.builder_from_directory(str(builder.data_path))
    skip = {name: tfds.decode.SkipDecoding() for name in ("image", "segmentation_mask")}
    decoders = {name: skip[name] for name in skip if name in reader.info.features}
    return {
        row["file_name"].decode(): row for row in reader.as_data_source(split, decoders=decoders)
    }


@pytest.mark.parametrize("builder", [Cifar10, Cifar100, Pets, Flowers102], ids=lambda b: b.name)
def test_name_version_features_and_files_are_those_of_tfds(builder, tmp_path):
    theirs = tfds.builder_cls(builder.name)(data_dir=str(tmp_path))
    ours = builder(data_dir=str(tmp_path))
    assert (ours.name, ours.version) == (theirs.name, theirs.version)
    assert set(ours.info.features) == set(theirs.info.features)
    for feature, value in ours.info.features.items():
        if not builder.name.startswith("cifar") or feature in ("id", "image"):
            assert value.to_json() == theirs.info.features[feature].to_json(), feature
    published = {url: (info.size, info.checksum) for url, info in theirs.url_infos.items()}
    for archive in builder.archives.values():
        assert published[archive.url] == (archive.size, archive.sha256)


def test_pets_are_read_from_the_published_archives(pets):
    builder, contents = pets
    train, test = prepared(builder, "train"), prepared(builder, "test")
    assert sorted(train) == [
        "Abyssinian_1.jpg", "Abyssinian_2.jpg", "Abyssinian_3.jpg", "Abyssinian_5.jpg",
        "yorkshire_terrier_7.jpg",
    ]  # fmt: skip
    assert sorted(test) == ["Abyssinian_4.jpg", "Egyptian_Mau_6.jpg", "yorkshire_terrier_8.jpg"]
    rows = train | test
    names = builder.info.features["label"].names
    for name, row in rows.items():
        stem = name.removesuffix(".jpg")
        assert names[row["label"]] == stem.rsplit("_", 1)[0]
        assert row["species"] == (stem.startswith("york"))
        assert row["segmentation_mask"] == contents[f"annotations/trimaps/{stem}.png"]
        box = [0.25, 0.25, 0.75, 0.75] if name == "Abyssinian_1.jpg" else [0, 0, 0, 0]
        np.testing.assert_allclose(row["head_bbox"], box)


def test_pets_that_are_no_jpeg_behind_their_name_become_jpeg_and_others_stay(pets):
    builder, contents = pets
    rows = prepared(builder, "train") | prepared(builder, "test")
    others = {"Abyssinian_5.jpg", "Egyptian_Mau_6.jpg", "yorkshire_terrier_7.jpg"}
    for name, row in rows.items():
        published = contents[f"images/{name}"]
        assert Image.open(io.BytesIO(row["image"])).format == "JPEG"
        assert (row["image"] == published) == (name not in others)
        difference = decode_rgb(row["image"]).astype(int) - decode_rgb(published)
        assert np.abs(difference).mean() < 15, name  # A palette of 256 is dithered.


def test_flowers_are_read_from_the_published_files(flowers):
    builder, contents = flowers
    label_of = {}
    for split, numbers in {"train": [1, 3, 9], "validation": [2, 4], "test": [5, 6, 7, 8]}.items():
        rows = prepared(builder, split)
        assert sorted(rows) == [f"image_{i:05d}.jpg" for i in numbers]
        label_of |= {name: row["label"] for name, row in rows.items()}
        assert all(row["image"] == contents[f"jpg/{name}"] for name, row in rows.items())
    assert [label_of[name] for name in sorted(label_of)] == [76, 76, 0, 0, 101, 101, 49, 49, 2]
    assert builder.info.features["label"].int2str(101) == "blackberry lily"


def test_everything_missing_is_told_with_its_address_and_its_place(flowers, tmp_path):
    builder, _ = flowers
    for name in ("102flowers.tgz", "setid.mat"):
        (tmp_path / "downloads" / name).unlink()
    with pytest.raises(DownloadError) as told:
        builder.download_and_prepare()
    for name in ("102flowers.tgz", "setid.mat"):
        assert f"published at http://127.0.0.1:1/{name}" in str(told.value)
        assert f"Put the file at {tmp_path}/downloads/{name}" in str(told.value)
    assert "imagelabels" not in str(told.value)
    assert not list(tmp_path.glob("oxford*/2*"))


def test_an_archive_that_lacks_a_picture_is_refused_by_name(pets, tmp_path, monkeypatch):
    builder, contents = pets
    del contents["images/Abyssinian_4.jpg"]
    lacking = made_archive(tmp_path / "downloads" / "images.tar.gz", contents)
    monkeypatch.setattr(Pets, "archives", Pets.archives | {"images": lacking})
    with pytest.raises(UserError, match="images.tar.gz: there is no images/Abyssinian_4.jpg in"):
        builder.download_and_prepare()
    assert not (tmp_path / "oxford_iiit_pet" / "4.0.0").exists()


def test_a_picture_that_cannot_be_decoded_is_told(pets, tmp_path, monkeypatch):
    builder, contents = pets
    contents["images/Abyssinian_4.jpg"] = contents["images/Abyssinian_4.jpg"][:-200]
    damaged = made_archive(tmp_path / "downloads" / "images.tar.gz", contents)
    monkeypatch.setattr(Pets, "archives", Pets.archives | {"images": damaged})
    with pytest.raises(UserError, match="images.tar.gz: images/Abyssinian_4.jpg is cut short"):
        builder.download_and_prepare()


def test_a_jpeg_of_any_kind_keeps_its_bytes(tmp_path):
    for mode in ("RGB", "L", "CMYK"):
        encoded = picture(0, "jpeg", mode)
        assert as_jpeg(encoded) == encoded
    with pytest.raises(BadPictureError):
        as_jpeg(b"no picture")


def test_real_pictures_behind_jpg_names_all_become_jpeg(real_data):
    """Among them a palette picture with transparency and one with an alpha channel."""
    changed = []
    for path in sorted((real_data / "photos").glob("*.jpg")):
        encoded = path.read_bytes()
        jpeg = as_jpeg(encoded)
        if jpeg != encoded:
            changed.append(path.name)
            difference = decode_rgb(jpeg).astype(int) - decode_rgb(encoded)
            assert np.abs(difference).mean() < 3, path
        assert Image.open(io.BytesIO(jpeg)).mode in ("RGB", "L", "CMYK"), path
    assert changed == ["Abyssinian_34.jpg", "Abyssinian_5.jpg"]
