"""Weight files and runs made to run code, to take all memory or to break the program."""

import contextlib
import json
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mlp_core.errors import UserError
from mlp_core.process.files import parse_json, read_bytes
from mlp_core.run_folder.run_directory import read_config, read_results, saved_steps
from mlp_core.weights.files import open_weight_file, write_weight_file


class RunsCode:
    """What pickle would make of it is a file."""

    def __init__(self, path):
        self._path = path

    def __reduce__(self):
        return Path.touch, (self._path,)


def npy(shape, data=b"", descr="'<f4'"):
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"
    return with_header(header, data)


def with_header(header, data=b""):
    header = header.encode().ljust(118)
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def npz(path, members, packing=zipfile.ZIP_STORED, comment=b""):
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, content in members:
            archive.writestr(name, content)
        archive.comment = comment
    return path


@pytest.mark.parametrize("read", ["check", "read"])
def test_pickled_objects_in_npz_are_refused_and_run_nothing(tmp_path, read):
    touched = tmp_path / "touched"
    np.savez(tmp_path / "w.npz", a=np.array([RunsCode(touched)], dtype=object))
    with pytest.raises(UserError, match=r"w\.npz: a holds object"):
        getattr(open_weight_file(tmp_path / "w.npz"), read)()
    assert not touched.exists()


@pytest.mark.parametrize(
    "content, message",
    [
        (npy((1 << 40,)), "not as long as its header says"),
        (npy((1000,), bytes(4)), "not as long as its header says"),
        (npy((1 << 62, 0)), "has more than"),
        (npy((-1, 4)), "impossible shape"),
        (npy((True, 4)), "impossible shape"),
        (npy((1,) * 50, bytes(4)), "impossible shape"),
        (with_header("(" * 9000), "damaged"),
        (with_header("-" * 9000 + "1"), "damaged"),
        (b"\x93NUMPY\x03\x00" + struct.pack("<I", 1 << 31), "damaged"),
    ],
)
def test_headers_of_npz_that_claim_what_is_not_there_are_refused(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        open_weight_file(npz(tmp_path / "w.npz", [("stem/kernel.npy", content)]))


def test_an_npz_that_would_unpack_to_far_more_is_refused_before_it_does(tmp_path):
    zeros = npy((40 << 20,), bytes(160 << 20))
    path = npz(tmp_path / "w.npz", [("a.npy", zeros)], zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 20
    with pytest.raises(UserError, match=r"would unpack to 0\.2 GiB, more than 100 times"):
        open_weight_file(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("second", ["a.npy", "a"])
def test_two_arrays_of_one_name_are_refused(tmp_path, second):
    path = npz(tmp_path / "w.npz", [("a.npy", npy((1,), bytes(4))), (second, npy((2,), bytes(8)))])
    with pytest.raises(UserError, match="two arrays of one name"):
        open_weight_file(path)


def test_an_npz_packed_in_an_exotic_way_is_refused(tmp_path):
    path = npz(tmp_path / "w.npz", [("a.npy", npy((1,), bytes(4)))], zipfile.ZIP_LZMA)
    with pytest.raises(UserError, match="packed in another way"):
        open_weight_file(path)


@pytest.mark.parametrize(
    "comment",
    [
        b"[" * 60_000,
        b"by another program",
        b"\xff{}",
        b"{made by x}",
        b'["crc32"]',
    ],
)
def test_comments_of_other_programs_are_passed_over(tmp_path, comment):
    path = npz(tmp_path / "w.npz", [("a.npy", npy((1,), bytes(4)))], comment=comment)
    assert open_weight_file(path).metadata == {}
    path.write_bytes(path.read_bytes() + b"\n")  # As a transfer may add.
    assert open_weight_file(path).metadata == {}


@pytest.mark.parametrize("comment", [b'{"a":' * 10_000, b'"crc32": "x', b'[{"crc32": "x"}]'])
def test_metadata_that_are_nested_too_deeply_or_no_object_are_refused(tmp_path, comment):
    path = npz(tmp_path / "w.npz", [("a.npy", npy((1,), bytes(4)))], comment=comment)
    with pytest.raises(UserError, match="damaged, cut short"):
        open_weight_file(path)


def test_metadata_that_are_cut_short_or_changed_are_refused(tmp_path):
    metadata = {"model": '{"gelu": "erf", "classes": ["Käse"]}', "other": "x"}
    path = tmp_path / "w.npz"
    write_weight_file(path, {"a": np.zeros(3)}, metadata)
    assert open_weight_file(path).metadata == metadata
    whole = path.read_bytes()
    start = whole.index(b'{"model"')
    for length in range(start - 4, len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match="damaged, cut short"):
            open_weight_file(path)
    for place in range(start - 2, len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1
        path.write_bytes(changed)
        with contextlib.suppress(UserError):
            found = open_weight_file(path).metadata
            assert {name: found[name] for name in metadata} == metadata


def test_metadata_of_files_without_a_checksum_are_read(tmp_path):
    path = npz(tmp_path / "w.npz", [("a.npy", npy((1,), bytes(4)))], comment=b'{"model": "x"}')
    assert open_weight_file(path).metadata == {"model": "x"}


def test_weights_that_are_a_pipe_a_device_or_a_folder_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(UserError, match="this is a folder, pipe or device; name a file"):
            open_weight_file(path)


def safetensors(path, header, data=b""):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)
    return path


def array(shape, first, last):
    return {"dtype": "F32", "shape": shape, "data_offsets": [first, last]}


@pytest.mark.parametrize(
    "header",
    [
        {"a": array([2], 0, 8), "b": array([2], 4, 12)},  # Overlapping,
        {"a": array([1 << 40], 0, 4 << 40)},  # outside,
        {"a": array([2], 4, 12)},  # with a hole in front,
        {"a": array([1 << 62, 0], 0, 0), "b": array([3], 0, 12)},  # of an absurd empty shape,
        b'{"a":' * 10_000,  # nested deeply.
    ],
)
def test_safetensors_whose_headers_cannot_be_are_refused(tmp_path, header):
    with pytest.raises(UserError, match=r"w\.safetensors: damaged"):
        open_weight_file(safetensors(tmp_path / "w.safetensors", header, bytes(12)))


def test_a_header_of_safetensors_that_claims_to_be_endless_is_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", 1 << 60) + b"{" + bytes(1000))
    with pytest.raises(UserError, match="header too large"):
        open_weight_file(path)


def test_more_arrays_than_any_model_has_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("mlp_core.weights.arrays.MOST_ARRAYS", 10)
    header = {f"a{i}": array([0], 0, 0) for i in range(11)}
    with pytest.raises(UserError, match="11 arrays, more than 10"):
        open_weight_file(safetensors(tmp_path / "w.safetensors", header))


def test_a_damaged_zip_archive_is_told_as_such(tmp_path):
    path = npz(tmp_path / "w.npz", [("a.npy", npy((1,), bytes(4)))])
    path.write_bytes(path.read_bytes().replace(b"PK\1\2", b"PK\1\3"))
    with pytest.raises(UserError, match="damaged"):
        open_weight_file(path)


def test_pipes_devices_and_endless_files_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(ValueError, match="not a regular file"):
            read_bytes(path)
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ValueError, match="longer than the 64 MiB"):
        read_bytes(tmp_path / "sparse")


@pytest.mark.parametrize("text", ["[" * 1_000_000, '{"a":' * 1_000_000, "9" * 5000, "\ud800"])
def test_json_that_cannot_be_read_is_a_value_error(text):
    with pytest.raises(ValueError):
        parse_json(text)


@pytest.mark.parametrize("content", [b"[" * 100_000, b"[]", b"3", b"\xff\xfe", b""])
def test_a_run_whose_files_are_no_objects_is_refused(tmp_path, content):
    (tmp_path / "checkpoints" / "5").mkdir(parents=True)
    for name in ("config.json", "results.json"):
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=r"config\.json: not readable as JSON"):
        read_config(tmp_path)
    with pytest.raises(UserError, match="not readable as JSON"):
        read_results(tmp_path, None)


def test_folders_whose_names_only_look_like_steps_are_none(tmp_path):
    for name in ("5", "²", "٣", "-1"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    assert saved_steps(tmp_path) == [5]
