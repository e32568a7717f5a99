"""Files that are written: new, of a known format, in folders that can be made."""

import pytest

from mlp_core.errors import UserError
from mlp_core.output_files import check_output, write_whole


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
