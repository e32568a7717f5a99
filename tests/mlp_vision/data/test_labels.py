"""What pictures are classified by: VTAB's labels, on small data sets with TFDS's features."""

import io
import pickle

import numpy as np
import pytest
import tensorflow_datasets as tfds

from mlp_core.errors import UserError
from mlp_vision.data.host_views import EvalView
from mlp_vision.data.image_codec import decode_rgb, encode_png
from mlp_vision.data.image_dataset import open_image_dataset, open_source
from mlp_vision.tasks import experiment
from mlp_vision.weights.loading import open_weights
from tests.configs.config_files import load
from tests.conftest import ROOT
from tests.made_tfds import write_tfds
from tests.mlp_vision.data.made_photos import encoded, photo, write_folder

IMAGE, CLASS, XYZ = tfds.features.Image, tfds.features.ClassLabel, (3,)


def labels_of(directory, label):
    """The labels of all examples, and the data set."""
    dataset = open_image_dataset(directory, None, label)
    source = open_source(dataset, "train", EvalView(16, "squash"))
    return source.gather(np.arange(len(source)))["label"].tolist(), dataset


def objects(coordinates, **others):
    """Objects at distances, as TFDS stores them."""
    count = len(others[next(iter(others))])
    rows = [[0.0, 0.0, float(z)] for z in coordinates]
    return {"pixel_coords" if "size" in others else "location": rows[:count]} | others


def clevr(folder, distances):
    features = {
        "image": IMAGE(),
        "file_name": tfds.features.Text(),
        "objects": tfds.features.Sequence(
            {
                "size": CLASS(names=["small", "large"]),
                "pixel_coords": tfds.features.Tensor(shape=XYZ, dtype=np.float32),
            }
        ),
    }
    rows = [
        {
            "image": encoded(photo(i), "png"),
            "file_name": f"CLEVR_{i}.png",
            "objects": objects(zs, size=[k % 2 for k in range(len(zs))]),
        }
        for i, zs in enumerate(distances)
    ]
    return str(write_tfds(folder, features, rows, "clevr"))


def test_clevr_counts_objects_and_bins_the_distance_of_the_closest(tmp_path):
    distances = [[9, 12, 11], [8.0] * 10, [8.01, 20, 20, 30], [12, 10.01, 11], [10, 11, 12, 13, 14]]
    directory = clevr(tmp_path, distances)
    counts, dataset = labels_of(directory, "clevr_count")
    assert dataset.num_classes == 8 and dataset.class_names[7] == "7"
    nearest, dataset = labels_of(directory, "clevr_distance")
    assert dataset.num_classes == 6
    # An edge belongs to the bin below it, as in task_adaptation.
    expected = {(0, 2), (7, 0), (1, 1), (0, 5), (2, 4)}
    assert set(zip(counts, nearest, strict=True)) == expected


def test_pictures_of_clevr_without_objects_have_no_label(tmp_path):
    directory = clevr(tmp_path, [[9, 9, 9], []])
    for label in ("clevr_count", "clevr_distance"):
        with pytest.raises(UserError, match="has no label between 0 and"):
            labels_of(directory, label)


def test_kitti_bins_the_distance_of_the_closest_vehicle(tmp_path):
    features = {
        "image": IMAGE(),
        "image/file_name": tfds.features.Text(),
        "objects": tfds.features.Sequence(
            {
                "type": CLASS(names=["Car", "Van", "Truck", "Pedestrian", "Cyclist"]),
                "location": tfds.features.Tensor(shape=XYZ, dtype=np.float32),
            }
        ),
    }
    scenes = {  # Distances, types, label.
        "car near": ([8, 50], [0, 1], 0),
        "pedestrian nearer than van": ([2, 8.5], [3, 1], 1),
        "truck far": ([300, 21], [0, 2], 2),
        "no vehicle": ([3, 4], [3, 4], 3),
        "nothing": ([], [], 3),
    }
    rows = [
        {
            "image": encoded(photo(i), "png"),
            "image/file_name": name,
            "objects": objects(zs, type=types),
        }
        for i, (name, (zs, types, _)) in enumerate(scenes.items())
    ]
    directory = str(write_tfds(tmp_path, features, rows, "kitti"))
    found, dataset = labels_of(directory, "kitti_distance")
    assert dataset.num_classes == 4 and sorted(found) == [0, 1, 2, 3, 3]


@pytest.fixture(scope="module")
def dsprites(tmp_path_factory):
    """Squares of ones on zeros: their place and turn are in the labels alone."""
    features = {
        "image": IMAGE(shape=(64, 64, 1)),
        "label_orientation": CLASS(num_classes=40),
        "label_x_position": CLASS(num_classes=32),
    }
    square = np.zeros((64, 64), np.uint8)
    square[:32] = 1
    rows = [
        {"image": encode_png(square), "label_orientation": turn, "label_x_position": x}
        for turn, x in [(0, 0), (2, 1), (3, 2), (5, 16), (37, 30), (39, 31)]
    ]
    return str(write_tfds(tmp_path_factory.mktemp("dsprites"), features, rows, "dsprites"))


def test_dsprites_are_told_apart_in_16_bins(dsprites):
    turns, dataset = labels_of(dsprites, "dsprites_orientation")
    places, _ = labels_of(dsprites, "dsprites_location")
    assert dataset.num_classes == 16
    assert sorted(zip(turns, places, strict=True)) == [
        *[(0, 0), (0, 0), (1, 1), (2, 8), (14, 15), (15, 15)]
    ]
    # As task_adaptation has it: divided by the width of a bin, and rounded down.
    assert sorted(turns) == [int(turn // (40 / 16)) for turn in (0, 2, 3, 5, 37, 39)]


def test_dsprites_are_black_and_white_in_memory_and_record_by_record(dsprites):
    dataset = open_image_dataset(dsprites, None, "dsprites_location")
    assert dataset.in_memory
    images = dataset.load("train").gather(np.arange(2))["image"]
    assert images.shape == (2, 64, 64, 3)
    assert (images[:, :32] == 255).all() and (images[:, 32:] == 0).all()
    content, label = dataset.records("train")[0]
    expected = np.zeros((64, 64), np.uint8)
    expected[:32] = 255
    assert content == encode_png(expected) and 0 <= label < 16


def test_a_label_of_another_name_is_read_with_its_class_names(tmp_path):
    features = {
        "image": IMAGE(shape=(8, 8, 1)),
        "image2": IMAGE(shape=(8, 8, 1)),
        "label_category": CLASS(names=["animal", "car"]),
        "label_azimuth": CLASS(num_classes=18),
    }
    rows = [
        {"image": picture, "image2": picture, "label_category": 1, "label_azimuth": azimuth}
        for azimuth, picture in enumerate([encode_png(np.zeros((8, 8), np.uint8))] * 18)
    ]
    directory = str(write_tfds(tmp_path, features, rows, "smallnorb"))
    found, dataset = labels_of(directory, "label_azimuth")
    assert sorted(found) == list(range(18)) and dataset.num_classes == 18
    _, dataset = labels_of(directory, "label_category")
    assert dataset.class_names == ["animal", "car"]
    with pytest.raises(
        UserError,
        match=r"no class label 'label' \(there is none\); its labels are label_azimuth, label_c",
    ):
        open_image_dataset(directory, None)


def test_labels_that_cannot_be_had_are_refused_in_a_sentence(dsprites, tmp_path):
    with pytest.raises(
        UserError, match="'clevr_count' is made of objects/size, and .* has no objects"
    ):
        open_image_dataset(dsprites, None, "clevr_count")
    scenes = clevr(tmp_path, [[9, 9, 9]])
    with pytest.raises(UserError, match="'kitti_distance' is made of .* has no objects/type; it"):
        open_image_dataset(scenes, None, "kitti_distance")
    with pytest.raises(UserError, match=r"no class label 'image' \(it is Image.*can be made of"):
        open_image_dataset(dsprites, None, "image")
    folder = write_folder(tmp_path / "animals", pictures=1)
    with pytest.raises(UserError, match="is a folder of pictures, whose labels are the names"):
        open_image_dataset(str(folder), None, "label_azimuth")


@pytest.mark.slow
def test_a_run_learns_a_made_label(dsprites, tmp_path):
    config = load(ROOT / "configs" / "mixer_b16_vtab.py", "smoke")
    config.data.name, config.data.label, config.data.image_size = dsprites, "dsprites_location", 32
    config.data.train_split = "train"
    config.data.eval_splits = {"validation": "train", "test": "train"}
    config.model.hidden_dim = config.model.channels_mlp_dim = 16
    config.train.duration, config.evaluation.every = "2 steps", "2 steps"
    results = experiment.train(config, tmp_path)
    assert results["test/loss"] < np.log(16)  # That of chance.
    assert len(open_weights(tmp_path).spec.class_names) == 16


@pytest.mark.parametrize("label", ["dsprites_location", "label_orientation"])
def test_worker_processes_can_have_copies_of_a_label(dsprites, label):
    original = open_image_dataset(dsprites, None, label).label
    copy = pickle.loads(pickle.dumps(original))
    example = {"label_x_position": np.int64(9), "label_orientation": np.int64(4)}
    assert copy.of(example) == original.of(example) == 4


def test_labels_count_the_classes_in_any_order_that_includes_them(tmp_path):
    shades = [np.full((4, 4, 3), i, np.uint8) for i in range(4)]
    rows = [{"image": io.BytesIO(encode_png(s)), "label": s[0, 0, 0]} for s in shades]
    rows[3]["label"] = -1
    features = {"image": IMAGE(shape=(4, 4, 3)), "label": CLASS(names=["ant", "bee", "cat"])}
    dataset = open_image_dataset(str(write_tfds(tmp_path, features, rows)), None)
    dataset = dataset.with_classes(["dog", "cat", "bee", "ant"])
    assert dataset.num_classes == 4 and dataset.class_names[3] == "ant"
    records, found = dataset.records("train"), {}
    for i in range(4):
        try:
            content, label = records[i]
            found[int(decode_rgb(content)[0, 0, 0])] = label
        except UserError as error:
            assert "has no label between 0 and 3" in str(error)
    assert found == {0: 3, 1: 2, 2: 1}
    with pytest.raises(UserError, match="have no label between 0 and 3"):
        dataset.load("train")
