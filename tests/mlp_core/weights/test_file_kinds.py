"""Files are recognised by their structure, whatever their name and their first bytes."""

import bz2
import gzip
import io
import json
import lzma
import pickle
import struct
import tarfile
import zipfile

import h5py
import numpy as np
import pytest
from flax import serialization

from mlp_core.errors import UserError
from mlp_core.weights.file_kinds import BY_MAGIC, NPZ, ONNX, PICKLE, SAFETENSORS, kind_of
from mlp_core.weights.files import open_weight_file, write_weight_file


def safetensors_bytes(header_bytes: int) -> bytes:
    """A whole file of one array with a header of this length, padded with spaces as usual."""
    header = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    data = np.array([1, 2], "<f4").tobytes()
    return struct.pack("<Q", header_bytes) + header.ljust(header_bytes) + data


def npz_bytes(**arrays) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def zip_bytes(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def hdf5_bytes() -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w") as opened:
        opened["a"] = np.zeros(3, np.float32)
    return file.getvalue()


def onnx_bytes() -> bytes:
    graph = b"\x0a\x04node" * 400
    length = bytes([len(graph) & 0x7F | 0x80, len(graph) >> 7])
    return b"\x08\x08\x12\x07pytorch\x1a\x052.1.0" + b"\x3a" + length + graph + b"\x42\x02\x10\x11"


def tar_bytes() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("model.safetensors"))
    return file.getvalue()


STATE = {"encoder.weight": np.zeros((30, 30), np.float32), "epoch": 3}
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 346293852\n"
INDEX = json.dumps({"metadata": {}, "weight_map": {"a": "model-1.safetensors"}}).encode()
OTHERS = {
    **{f"pickle {i}": (pickle.dumps(STATE, i), "pickle of PyTorch's") for i in range(6)},
    "old torch": (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.", "pickle"),
    "torch zip": (zip_bytes({"archive/data.pkl": b"", "archive/data/0": bytes(9)}), "pickle"),
    "zip": (zip_bytes({"model.weights.h5": b"", "config.json": b"{}"}), "'model.weights.h5'"),
    "hdf5": (hdf5_bytes(), "an HDF5 file"),
    "onnx": (onnx_bytes(), "an ONNX model"),
    "msgpack": (serialization.to_bytes({"params": {"a": np.zeros(3)}}), "a msgpack file"),
    "gzip": (gzip.compress(npz_bytes(a=np.zeros(3))), "a gzip file"),
    "bzip2": (bz2.compress(b"x"), "a bzip2 file"),
    "xz": (lzma.compress(b"x"), "an xz file"),
    "tar": (tar_bytes(), "a tar archive"),
    "npy": (b"\x93NUMPY\1\0", "a single numpy array"),
    "page": (b"\n<!DOCTYPE html><html>404</html>", "a web page"),
    "error": (b'\xef\xbb\xbf<?xml version="1.0"?><Error/>', "a web page"),
    "lfs": (POINTER, "git lfs pull"),
    "index": (INDEX, "JSON text"),
    "empty": (b"", "an empty file"),
    "text": (b"hello", "neither an npz nor a safetensors file"),
    "zeros": (bytes(1000), "neither an npz nor a safetensors file"),
    "four bytes": (b"\x80\x00\x00\x00", "neither an npz nor a safetensors file"),
}


@pytest.mark.parametrize("header_bytes", range(64, 64 + 256))
def test_safetensors_with_a_header_of_any_length_are_read(tmp_path, header_bytes):
    path = tmp_path / "model.bin"
    path.write_bytes(safetensors_bytes(header_bytes))
    np.testing.assert_array_equal(open_weight_file(path).read()["a"], [1, 2])


@pytest.mark.parametrize(
    "start", [b"PK", b"PK\3\4", b"\x80\x02", b"\x80\x04", b"<h", b"<!d", *BY_MAGIC], ids=repr
)
def test_a_header_whose_length_begins_as_another_format_does_is_still_one(tmp_path, start):
    path = tmp_path / "model.safetensors"
    path.write_bytes(start[:3].ljust(8, b"\0") + b'{"a":')
    assert kind_of(path) == SAFETENSORS


def test_exports_with_any_length_of_class_names_are_read(tmp_path):
    for length in range(0, 300, 7):
        metadata = {"classes": "<html> PK\3\4 " + "x" * length}
        path = tmp_path / f"{length}.safetensors"
        write_weight_file(path, {"a": np.ones(3)}, metadata)
        assert open_weight_file(path).metadata["classes"] == metadata["classes"]


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".bin"])
def test_other_files_are_named_whatever_they_are_called(tmp_path, name, suffix):
    content, words = OTHERS[name]
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        open_weight_file(path)
    assert words in str(error.value) and len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("kind", ["npz", "onnx", "pickle 2", "pickle 5"])
def test_files_that_are_cut_short_are_of_the_kind_that_they_were(tmp_path, kind):
    whole = npz_bytes(a=np.zeros(999)) if kind == "npz" else OTHERS[kind][0]
    path = tmp_path / "model.safetensors"
    path.write_bytes(whole[: len(whole) * 3 // 4])
    assert kind_of(path) == {"npz": NPZ, "onnx": ONNX}.get(kind, PICKLE)


def test_nothing_in_a_pickle_is_carried_out(tmp_path):
    class Touch:
        def __reduce__(self):
            return open, (str(tmp_path / "touched"), "w")

    path = tmp_path / "model.bin"
    for protocol in range(6):
        path.write_bytes(pickle.dumps(Touch(), protocol))
        assert kind_of(path) == PICKLE
    assert not (tmp_path / "touched").exists()
