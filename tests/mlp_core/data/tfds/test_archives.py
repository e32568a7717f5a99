"""Reading archives as they are published."""

import tracemalloc

import numpy as np
import pytest

from mlp_core.data.tfds.archives import read_members
from mlp_core.errors import UserError
from tests.mlp_core.data.tfds.made_archive import made_archive


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.6])
def test_a_truncated_archive_is_told_by_name(tmp_path, compress, keep):
    path = tmp_path / "some.tar.gz"
    noise = np.random.default_rng(0).bytes
    made_archive(path, {f"file_{i}": noise(5000) for i in range(4)}, compress)
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(UserError, match="some.tar.gz: "):
        list(read_members(path, ["file_3"]))


def test_a_compressed_archive_is_read_in_one_pass_with_one_file_in_memory(tmp_path):
    noise = np.random.default_rng(0).bytes
    contents = {f"./folder/file_{i}": noise(1 << 20) for i in range(24)}
    made_archive(tmp_path / "some.tgz", contents)
    names = [name.removeprefix("./") for name in reversed(contents)]
    tracemalloc.start()
    met = [
        name
        for name, content in read_members(tmp_path / "some.tgz", names)
        if content == contents[f"./{name}"]
    ]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert met == names[::-1]
    assert peak < 6 << 20
