"""Archives, TFRecord files and TFDS metadata made to run code, write elsewhere or take memory."""

import io
import json
import os
import shutil
import struct
import sys
import tarfile
import zipfile

import pytest

from mlp_core.data.tfds.archives import open_zipped, read_files
from mlp_core.data.tfds.convert import convert, find_converted
from mlp_core.data.tfds.prepared import find_prepared
from mlp_core.data.tfds.tfrecord import read_records
from mlp_core.errors import UserError
from tests.conftest import ROOT

TINY = ROOT / "tests" / "data" / "tfds" / "tiny"


@pytest.fixture
def tiny(tmp_path):
    shutil.copytree(TINY, tmp_path / "tiny")
    return tmp_path / "tiny" / "1.0.0"


@pytest.fixture
def evil(tmp_path, monkeypatch):
    """A class of a module that tells that it was imported."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "evil_features.py").write_text("raise RuntimeError('this has been run')\n")
    monkeypatch.syspath_prepend(tmp_path / "code")
    yield "evil_features.Feature"
    assert "evil_features" not in sys.modules


def change(file, edit):
    content = json.loads(file.read_text())
    edit(content)
    file.write_text(json.dumps(content))


def open_both_ways(folder):
    """Opens a data set by its folder and by its name; the errors."""
    errors = []
    for name, data_dir in ((str(folder), None), ("tiny", str(folder.parents[1]))):
        with pytest.raises(UserError) as caught:
            find_prepared(name, data_dir)
        errors.append(str(caught.value))
    assert all("\n" not in error for error in errors)
    return errors


@pytest.mark.parametrize("key", ["pythonClassName", "python_class_name"])
def test_classes_other_than_tfds_own_are_not_imported(tiny, evil, key):
    def edit(features):
        feature = features["featuresDict"]["features"]["id"]
        del feature["pythonClassName"]
        feature[key] = evil

    change(tiny / "features.json", edit)
    for error in open_both_ways(tiny):
        assert "names the Python class 'evil_features.Feature'" in error


@pytest.mark.parametrize("name", ["evil_features.Feature", "tensorflow_datasets..x.Y", "os.path"])
def test_classes_in_the_older_form_are_not_imported(tiny, evil, name):
    (tiny / "features.json").write_text(json.dumps({"type": name, "content": {}}))
    for error in open_both_ways(tiny):
        assert "names the Python class" in error


def test_classes_that_a_converted_copy_names_are_not_imported(tiny, evil):
    source = find_prepared(str(tiny), None)
    assert len(convert(source).as_data_source("test")) == 7

    def edit(features):
        features["featuresDict"]["features"]["id"]["pythonClassName"] = evil

    change(tiny / "array_record" / "features.json", edit)
    with pytest.raises(UserError, match="names the Python class"):
        find_converted(source)


@pytest.mark.parametrize(
    "template", ["../../x-{SPLIT}-{SHARD_X_OF_Y}", "/tmp/x-{SPLIT}-{SHARD_X_OF_Y}", "{0.__class__}"]
)
def test_files_of_examples_outside_the_folder_are_neither_read_nor_written(tiny, template):
    def edit(info):
        for split in info["splits"]:
            split["filepathTemplate"] = template

    change(tiny / "dataset_info.json", edit)
    for error in open_both_ways(tiny):
        assert "outside" in error or "cannot be read" in error


def test_a_name_that_leads_elsewhere_is_refused(tiny):
    for file in tiny.glob("tiny-*"):
        file.rename(file.with_name(file.name.replace("tiny-", "..-")))
    change(tiny / "dataset_info.json", lambda info: info.update(name=".."))
    for error in open_both_ways(tiny):
        assert "no data set can be called '../1.0.0'" in error


@pytest.mark.parametrize("count", ["1000000000000000000", "-4", 2_000_000])
def test_more_classes_than_any_data_set_has_are_refused(tiny, count):
    def edit(features):
        features["featuresDict"]["features"]["label"]["classLabel"]["numClasses"] = count

    change(tiny / "features.json", edit)
    for error in open_both_ways(tiny):
        assert "classes; there may be 1,000,000 at most" in error


@pytest.mark.parametrize("lengths", [["4611686018427387904"], ["-5"], ["1"] * 100_001])
def test_impossible_numbers_of_examples_and_files_are_refused(tiny, lengths):
    change(tiny / "dataset_info.json", lambda info: info["splits"][0].update(shardLengths=lengths))
    for error in open_both_ways(tiny):
        assert "numbers of examples that cannot be" in error or "100,001 files" in error


@pytest.mark.parametrize("name", ["features.json", "dataset_info.json"])
@pytest.mark.parametrize("content", ["[" * 100_000, "[]", "3", '{"splits": 3}', ""])
def test_metadata_that_are_something_else_are_told(tiny, name, content):
    (tiny / name).write_text(content)
    open_both_ways(tiny)


def test_metadata_without_an_end_are_not_read(tiny):
    (tiny / "features.json").unlink()
    os.mkfifo(tiny / "features.json")
    assert "not a regular file" in open_both_ways(tiny)[0]
    with (tiny / "label.labels.txt").open("wb") as file:
        file.truncate(1 << 40)
    (tiny / "features.json").unlink()
    shutil.copy(TINY / "1.0.0" / "features.json", tiny)
    for error in open_both_ways(tiny):
        assert "label.labels.txt: longer than" in error


def test_a_record_that_claims_to_be_endless_is_refused(tmp_path):
    path = tmp_path / "x.tfrecord"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 1 << 39) + bytes(4))
        file.truncate(1 << 40)
    with pytest.raises(UserError, match=r"x\.tfrecord: this TFRecord file is damaged"):
        list(read_records(path))


def tar_of(path, members):
    with tarfile.open(path, "w") as tar:
        for name, kind, content in members:
            member = tarfile.TarInfo(name)
            member.type, member.size, member.linkname = kind, len(content), "/etc/passwd"
            tar.addfile(member, io.BytesIO(content))
    return path


def test_links_and_devices_in_a_tar_archive_are_passed_over_and_nothing_is_written(tmp_path):
    kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)
    members = [("../../outside", tarfile.REGTYPE, b"abc"), ("/absolute", tarfile.REGTYPE, b"abc")]
    members += [(f"special_{number}", kind, b"") for number, kind in enumerate(kinds)]
    path = tar_of(tmp_path / "a.tar", members)
    assert [name for name, _ in read_files(path)] == ["../../outside", "/absolute"]
    assert [file.name for file in tmp_path.iterdir()] == ["a.tar"]


def test_a_file_in_a_tar_archive_that_claims_to_be_huge_is_refused(tmp_path):
    member = tarfile.TarInfo("big")
    member.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"%011o\0" % (1 << 32)  # The real size of a sparse file.
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "a.tar").write_bytes(bytes(header) + bytes(1024))
    with pytest.raises(UserError, match="'big' has 4,294,967,296 bytes, more than"):
        list(read_files(tmp_path / "a.tar"))


@pytest.mark.parametrize("place, value", [((6, 8), 1), ((8, 10), 99)])
def test_encrypted_and_exotically_packed_zip_archives_are_told(tmp_path, place, value):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", "hello")
    content = bytearray(path.read_bytes())
    content[place[0]] = content[content.find(b"PK\1\2") + place[1]] = value
    path.write_bytes(content)
    with pytest.raises(UserError, match="this archive is damaged"), open_zipped(path, "a") as file:
        file.read()
