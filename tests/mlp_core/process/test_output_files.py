"""Files that are written: new, of a known format, in folders that can be made."""

import errno
import os
import resource
import stat

import numpy as np
import pytest

from mlp_core.errors import UserError
from mlp_core.process.figure_files import new_figure, write
from mlp_core.process.files import check_output, open_lock_file, whole_output, write_whole
from mlp_core.weights.files import write_weight_file


def test_other_formats_and_files_that_are_there_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"--output=.*x.jpg: name a file that ends in .png or .svg"):
        check_output(tmp_path / "x.jpg", (".png", ".svg"))
    (tmp_path / "x.png").touch()
    (tmp_path / "link.png").symlink_to(tmp_path / "nowhere")
    for there in ("x.png", "link.png", "."):
        with pytest.raises(UserError, match="--json=.*: something lies there; name another"):
            check_output(tmp_path / there, flag="json")


def test_folders_on_the_way_may_be_missing_but_no_file_may_lie_there(tmp_path):
    target = tmp_path / "deep" / "er" / "x.json"
    check_output(target)
    write_whole(target, "text")
    assert target.read_text() == "text" and list(target.parent.iterdir()) == [target]
    with pytest.raises(UserError, match=r"no file can be written in .*x\.json"):
        check_output(target / "y.json")


def test_a_link_where_a_temporary_file_could_be_expected_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for suffix in (".tmp", ".part", ".tmp.npz"):
        (tmp_path / f".x.json{suffix}").symlink_to(victim)
    write_whole(tmp_path / "x.json", "text")
    assert victim.read_text() == "precious" and (tmp_path / "x.json").read_text() == "text"


def test_temporary_names_differ_and_other_users_cannot_enter(tmp_path):
    names = set()
    for _ in range(20):
        with whole_output(tmp_path / "x") as part:
            part.write_text("text")
            names.add(part)
            assert part.parent.parent == tmp_path
            assert stat.S_IMODE(part.parent.stat().st_mode) == 0o700
    assert len(names) == 20
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_an_error_or_interrupt_leaves_the_former_file_and_nothing_else(tmp_path, error):
    target = tmp_path / "x"
    target.write_text("before")
    with pytest.raises(type(error)), whole_output(target) as part:
        part.write_text("half")
        raise error
    assert target.read_text() == "before" and list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("umask, mode", [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_new_files_have_the_mode_of_the_umask_whatever_library_writes_them(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_whole(tmp_path / "x.json", "{}")
        for name in ("x.npz", "x.safetensors"):
            write_weight_file(tmp_path / name, {"a": np.zeros(3)}, {"model": "{}"})
        write(new_figure(1.0, 1.0), tmp_path / "x.png")
    finally:
        os.umask(before)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 4
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {mode}


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666])
def test_a_replaced_file_keeps_its_mode(tmp_path, mode):
    target = tmp_path / "x.safetensors"
    target.touch()
    target.chmod(mode)
    write_weight_file(target, {"a": np.zeros(3)})
    assert stat.S_IMODE(target.stat().st_mode) == mode and target.stat().st_size


def test_a_link_is_replaced_and_what_it_points_to_stays(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "link").symlink_to(victim)
    write_whole(tmp_path / "link", "text")
    assert victim.read_text() == "precious"
    assert not (tmp_path / "link").is_symlink() and (tmp_path / "link").read_text() == "text"


def test_directories_pipes_and_devices_are_not_replaced(tmp_path):
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/null")
    for name in ("directory", "pipe", "device"):
        with pytest.raises(OSError, match="not a regular file"):
            write_whole(tmp_path / name, "text")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["device", "directory", "pipe"]


def test_what_searches_for_files_by_name_does_not_find_an_unfinished_one(tmp_path):
    with whole_output(tmp_path / "config.json") as part:
        part.write_text("{}")
        assert not list(tmp_path.rglob("config.json"))


def test_a_name_as_long_as_the_file_system_allows_can_be_written(tmp_path):
    write_whole(tmp_path / ("x" * 255), "text")


def test_a_lock_file_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        open_lock_file(tmp_path / "link")
    assert not (tmp_path / "elsewhere").exists()
    with open_lock_file(tmp_path / "lock") as file:
        file.write(b"kept")
    with open_lock_file(tmp_path / "lock") as file:
        assert file.read() == b"kept"


@pytest.mark.parametrize("name", ["x.npz", "x.safetensors"])
def test_a_full_disk_leaves_the_former_file_and_nothing_else(tmp_path, name):
    target = tmp_path / name
    target.write_text("before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(UserError, match=f"{name}: cannot be written .*File too large"):
            write_weight_file(target, {"a": np.zeros(1 << 20)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert target.read_text() == "before" and list(tmp_path.iterdir()) == [target]
