"""TFRecord data sets converted to array_record; tests/data/tfds/tiny came from TensorFlow."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import pytest
import tensorflow_datasets as tfds

from mlp_core.data.tfds import convert as conversion
from mlp_core.data.tfds.convert import convert, find_converted
from mlp_core.data.tfds.prepared import find_prepared, open_prepared
from mlp_core.data.tfds.tfrecord import TfrecordSource
from mlp_core.errors import UserError
from mlp_core.process.user_paths import cache_dir
from tests.conftest import ROOT

TINY = ROOT / "tests" / "data" / "tfds" / "tiny"


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A copy of the tiny data set, and a cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(TINY, tmp_path / "tiny")
    (tmp_path / "tiny" / "1.0.0" / "label.labels.txt").write_text("a\nb\nc\nd\ne\n")
    return tfds.builder_from_directory(tmp_path / "tiny" / "1.0.0")


def files_in(folder):
    folder = Path(folder)
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_copy_is_read_by_tfds_and_holds_the_same_examples_in_the_same_order(tiny):
    folder = convert(tiny).data_path
    assert folder == tiny.data_path / "array_record"
    copy = tfds.builder_from_directory(folder)
    assert copy.info.file_format == tfds.core.FileFormat.ARRAY_RECORD
    assert copy.info.full_name == tiny.info.full_name
    assert copy.info.features["label"].names == ["a", "b", "c", "d", "e"]
    skip = {"image": tfds.decode.SkipDecoding()}
    for split in ("train", "test", "train[30%:80%]"):
        expected = TfrecordSource(tiny, split, skip)
        got = copy.as_data_source(split, decoders=skip)
        assert len(got) == len(expected) > 0
        assert [got[i] for i in range(len(got))] == expected.__getitems__(range(len(expected)))
    for split in ("train", "test"):
        assert copy.info.splits[split].shard_lengths == tiny.info.splits[split].shard_lengths


def test_the_copy_is_opened_where_there_is_one(tiny, tmp_path):
    before = open_prepared("tiny", str(tmp_path), {})
    assert before.info.file_format == tfds.core.FileFormat.TFRECORD
    folder = convert(tiny).data_path
    for name, data_dir in (("tiny", str(tmp_path)), (str(tiny.data_path), None)):
        assert open_prepared(name, data_dir, {}).data_path == folder


def test_a_second_conversion_does_nothing(tiny):
    first = Path(convert(tiny).data_path)
    stamps = {path: path.stat().st_mtime_ns for path in first.iterdir()}
    assert Path(convert(tiny).data_path) == first
    assert stamps == {path: path.stat().st_mtime_ns for path in first.iterdir()}


def test_an_interrupted_conversion_leaves_nothing_and_is_done_again(tiny, monkeypatch):
    before = files_in(tiny.data_path)
    copy_shard, copied = conversion._copy_shard, []

    def interrupted(*args):
        copied.append(args)
        if len(copied) == 3:
            raise KeyboardInterrupt
        copy_shard(*args)

    monkeypatch.setattr(conversion, "_copy_shard", interrupted)
    with pytest.raises(KeyboardInterrupt):
        convert(tiny)
    assert files_in(tiny.data_path) == before | {".array_record.lock"}
    assert find_converted(tiny) is None
    assert len(convert(tiny).as_data_source("train")) == 23


def test_what_a_killed_conversion_leaves_is_not_used_and_is_cleared_away(tiny):
    code = (
        "import sys, time, tensorflow_datasets as tfds\n"
        "from mlp_core.data.tfds import convert as conversion\n"
        "conversion._copy_examples = lambda target, source: time.sleep(60)\n"
        "conversion.convert(tfds.builder_from_directory(sys.argv[1]))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, tiny.data_path], cwd=ROOT)
    deadline = time.time() + 60
    while not list(tiny.data_path.glob(".array_record.part*/features.json")):
        assert time.time() < deadline and process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list(tiny.data_path.glob(".array_record.part*"))
    assert find_converted(tiny) is None
    convert(tiny)
    assert not list(tiny.data_path.glob(".array_record.part*"))
    assert len(find_converted(tiny).as_data_source("test")) == 7


def test_files_cut_short_are_refused_and_nothing_is_left(tiny):
    shard = Path(tiny.info.splits["train"].filepaths[1])
    whole = shard.read_bytes()
    for content, message in ((whole[:-30], "cut short"), (b"", "0 examples in this file, not 11")):
        shard.write_bytes(content)
        with pytest.raises(UserError, match=f"{shard.name}: .*{message}"):
            convert(tiny)
        assert find_converted(tiny) is None and not list(tiny.data_path.glob("*array_record*part*"))


def test_where_the_data_cannot_be_written_the_copy_goes_to_the_cache(tiny, monkeypatch):
    def no_room_in_the_data(folder, real=shutil.disk_usage):
        free = 0 if Path(folder) == Path(tiny.data_path) else real(folder).free
        return namedtuple("Usage", "free")(free)

    monkeypatch.setattr(shutil, "disk_usage", no_room_in_the_data)
    folder = convert(tiny).data_path
    assert folder == cache_dir() / "array_record" / "tiny" / "1.0.0"
    assert find_converted(tiny).data_path == folder


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_where_the_data_are_read_only_the_copy_goes_to_the_cache(tiny):
    tiny.data_path.chmod(0o555)
    assert convert(tiny).data_path == cache_dir() / "array_record" / "tiny" / "1.0.0"


def test_no_room_anywhere_is_told_before_anything_is_written(tiny, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: namedtuple("Usage", "free")(5000))
    before = files_in(tiny.data_path)
    with pytest.raises(UserError, match=r"(?s)no place for a copy.*array_record: 0.00 GiB free"):
        convert(tiny)
    assert files_in(tiny.data_path) == before


def test_the_copy_of_another_data_set_of_this_name_is_not_used(tiny):
    folder = convert(tiny).data_path
    info = tiny.data_path / "dataset_info.json"
    changed = json.loads(info.read_text())
    changed["splits"][1]["numBytes"] = "2248"
    info.write_text(json.dumps(changed))
    assert find_converted(tiny) is None
    assert convert(tiny).data_path == folder  # In place of the old one.
    assert find_converted(tiny).info.splits["test"].num_bytes == 2248


def test_a_copy_is_made_on_a_file_system_without_locks(tiny, monkeypatch):
    def no_locks(file, operation):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", no_locks)
    assert len(convert(tiny).as_data_source("test")) == 7


def test_examples_that_differ_from_their_checksums_are_not_converted(tmp_path):
    shutil.copytree(TINY, tmp_path / "tiny")
    shard = next((tmp_path / "tiny").rglob("*train.tfrecord-00000*"))
    content = bytearray(shard.read_bytes())
    content[40] ^= 1
    shard.write_bytes(content)
    builder = tfds.builder_from_directory(shard.parent)
    with pytest.raises(UserError, match="an example differs from its checksum"):
        convert(builder)


def test_a_missing_shard_is_told_before_anything_is_read(tmp_path):
    shutil.copytree(TINY, tmp_path / "tiny")
    shard = next((tmp_path / "tiny").rglob("*train.tfrecord-00000*"))
    shard.unlink()
    with pytest.raises(UserError, match=f"{shard.name} is missing; prepare .* again"):
        find_prepared(str(shard.parent), None)
