import os
import pickle

from mlp_vision.data.image_folder import PackedPaths

PATHS = ["cat/1.jpg", "", "hund/ärger.png", os.fsdecode(b"odd/\xff.jpg"), "cat/2.jpg"]


def test_paths_come_out_as_they_went_in():
    packed = PackedPaths(PATHS)
    assert len(packed) == 5
    assert [packed[i] for i in range(5)] == PATHS


def test_no_path_at_all_is_no_trouble():
    assert len(PackedPaths([])) == 0


def test_their_bytes_are_what_a_worker_shares():
    buffers = []
    text = pickle.dumps(PackedPaths(PATHS * 1000), protocol=5, buffer_callback=buffers.append)
    assert len(text) < 1000 and len(buffers) == 2
    assert pickle.loads(text, buffers=buffers)[7] == PATHS[2]
