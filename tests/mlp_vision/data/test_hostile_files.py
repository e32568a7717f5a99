"""Pictures and descriptions of models made to take all memory, to hang or to break the program."""

import json
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mlp_core.errors import UserError
from mlp_core.weights.files import write_weight_file
from mlp_vision.data.host_views import EvalView
from mlp_vision.data.image_codec import BadPictureError
from mlp_vision.data.image_folder import FolderDataset
from mlp_vision.data.pictures import open_picture
from mlp_vision.models.weight_layouts import to_timm
from mlp_vision.tools.prediction import _view_or_problem
from mlp_vision.weights.loading import open_weights, spec_from_json
from tests.mlp_vision.weights.made_weights import made_arrays

SPEC = {
    "architecture": "mixer",
    "patch_size": 8,
    "hidden_dim": 16,
    "num_blocks": 2,
    "num_classes": 10,
    "gelu": "tanh",
    "layer_norm_epsilon": 1e-6,
    "image_size": 32,
    "eval_preset": "resmall_crop",
    "value_range": [-1, 1],
    "output": "softmax",
    "tokens_mlp_dim": 8,
    "channels_mlp_dim": 16,
}


def chunk(kind, content):
    crc = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + crc


def png(width, height, rows=b"", extra=b""):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + extra + data


BMP = struct.pack("<IHHIIIIHHIIIIII", 54, 0, 0, 54, 40, 10**5, 10**5, 1, 24, *[0] * 6)


@pytest.mark.parametrize(
    "encoded",
    [
        png(100_000, 100_000),
        b"BM" + BMP,
        b"P6\n100000 100000\n255\n",
        b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x08\x01\0;",
    ],
)
def test_pictures_of_absurd_sizes_are_refused_before_memory_is_taken(encoded):
    with pytest.raises(BadPictureError, match="more than 179 million pixels"):
        open_picture(encoded)


def test_texts_in_a_picture_that_unpack_to_far_more_are_refused():
    text = chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(20 << 20)))
    assert open_picture(png(8, 8, bytes(8 * 25))).width == 8
    with pytest.raises(BadPictureError, match="too large"):
        open_picture(png(8, 8, bytes(8 * 25), text))


@pytest.fixture
def folder(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "train" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "train" / name / "0.png")
    return tmp_path


def test_what_is_called_a_picture_but_has_no_end_is_a_bad_picture(folder):
    os.mkfifo(folder / "train" / "a" / "pipe.jpg")
    (folder / "train" / "a" / "zero.jpg").symlink_to("/dev/zero")
    with (folder / "train" / "a" / "sparse.jpg").open("wb") as file:
        file.truncate(1 << 40)
    records = FolderDataset(folder).records("train")
    problems = []
    for index in range(len(records)):
        try:
            records[index]
        except BadPictureError as error:
            problems.append((Path(records.name(index)).name, str(error)))
    assert sorted(problems) == [
        ("pipe.jpg", "not a regular file"),
        ("sparse.jpg", "longer than the 1,024 MiB that are read of such a file"),
        ("zero.jpg", "not a regular file"),
    ]
    assert "not a regular" in _view_or_problem(EvalView(8, "squash"), Path("/dev/zero"))


def test_links_to_folders_around_them_are_not_followed(folder, tmp_path_factory):
    inside = folder / "train" / "a"
    for name, target in {"x": inside, "y": folder / "train", "z": folder, "up": "/"}.items():
        (inside / name).symlink_to(target)
    (inside / "itself").symlink_to("itself")
    (inside / "itself.png").symlink_to("itself.png")  # A picture that cannot be read.
    store = tmp_path_factory.mktemp("store") / "c"
    store.mkdir()
    Image.new("RGB", (8, 8)).save(store / "0.png")
    (store / "up").symlink_to(store.parent)
    (folder / "train" / "c").symlink_to(store)
    records = FolderDataset(folder).records("train")
    found = ["train/a/0.png", "train/a/itself.png", "train/b/0.png", "train/c/0.png"]
    assert sorted(records.name(i) for i in range(len(records))) == found


def test_links_that_lead_to_each_other_end_and_each_folder_counts_once(folder, tmp_path_factory):
    store = tmp_path_factory.mktemp("store")
    for i in range(30):  # Without a limit 2^30 paths lead to the last.
        (store / f"{i}").mkdir()
        for name in "xy":
            (store / f"{i}" / name).symlink_to(store / f"{(i + 1) % 30}")
    Image.new("RGB", (8, 8)).save(store / "29" / "0.png")
    (folder / "train" / "a" / "store").symlink_to(store / "0")
    dataset = FolderDataset(folder)
    assert dataset.num_examples("train") == 3


def test_the_path_of_a_picture_does_not_depend_on_links_beside_its_folder(folder):
    (folder / "train" / "a" / "m").mkdir()
    Image.new("RGB", (8, 8)).save(folder / "train" / "a" / "m" / "1.png")
    for name in ("a", "z"):
        (folder / "train" / "a" / name).symlink_to("m")
    records = FolderDataset(folder).records("train")
    found = sorted(records.name(i) for i in range(len(records)))
    assert found == ["train/a/0.png", "train/a/m/1.png", "train/b/0.png"]


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        "[]",
        json.dumps(SPEC | {"architecture": [1]}),
        json.dumps(SPEC | {"num_blocks": 10**9}),
        json.dumps(SPEC | {"image_size": 10**12}),
        json.dumps(SPEC | {"hidden_dim": 10**30}),
        json.dumps(SPEC).replace("[-1, 1]", "[-Infinity, NaN]"),
    ],
)
def test_descriptions_of_models_that_cannot_be_are_refused(text):
    spec_from_json(json.dumps(SPEC), Path("model.json"))
    with pytest.raises(UserError, match=r"^model\.json: does not describe a model"):
        spec_from_json(text, Path("model.json"))


def test_weights_of_more_blocks_than_any_model_has_are_refused(tmp_path):
    arrays = made_arrays("mixer_s32", 10, 64)
    arrays |= {f"MixerBlock_{i}/x": np.zeros(1) for i in range(1001)}
    write_weight_file(tmp_path / "w.safetensors", arrays)
    with pytest.raises(UserError, match=r"no model of this project \(num_blocks: "):
        open_weights(tmp_path / "w.safetensors")


def test_a_description_in_weights_that_is_nested_deeply_is_refused(tmp_path):
    arrays = made_arrays("mixer_s32", 10, 64)
    write_weight_file(tmp_path / "w.safetensors", arrays, {"all_mlp_model": "[" * 100_000})
    with pytest.raises(UserError, match="does not describe a model .*nested too deeply"):
        open_weights(tmp_path / "w.safetensors")


def test_configurations_of_timms_that_cannot_be_are_refused(tmp_path):
    arrays = to_timm("MixerBlock", made_arrays("mixer_s32", 10, 64))
    write_weight_file(tmp_path / "model.safetensors", arrays)
    for text in (
        "[" * 100_000,
        '{"mean": [NaN, NaN, NaN]}',
        '{"std": [-1, -1, -1]}',
        '{"std": [1e-320, 1e-320, 1e-320]}',
        '{"pretrained_cfg": [1]}',
        '{"crop_pct": {}}',
    ):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(UserError, match=r"config\.json: no configuration as timm writes it"):
            open_weights(tmp_path)
