"""Corpora and folders of blocks made to hang, to take all memory or to break the program."""

import gzip
import io
import json

import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordWriter

from mlp_core.errors import UserError
from mlp_text.corpus import text_files
from mlp_text.corpus.block_source import BlockSource
from mlp_text.corpus.sources import open_corpus

LAYOUT = dict(num_tokens=8, packing="packed", vocab_size=10, pad_id=0, cls_id=1, sep_id=2)


def test_links_in_a_circle_do_not_hang_and_each_file_counts_once(tmp_path):
    (tmp_path / "below").mkdir()
    for name in ("a.txt", "below/b.txt", ".hidden.txt"):
        (tmp_path / name).write_text("hello\n")
    for name in "xyz":
        (tmp_path / name).symlink_to(tmp_path)
        (tmp_path / "below" / name).symlink_to(tmp_path)
    assert [shard.path.name for shard in open_corpus(str(tmp_path))] == ["a.txt", "b.txt"]


def test_only_what_follows_an_existing_folder_is_a_pattern(tmp_path, monkeypatch):
    for folder in ("[ab]*?", "a", "a1x"):
        (tmp_path / folder).mkdir()
        for name in ("one.txt", "two.txt", "[t]wo.txt"):
            (tmp_path / folder / name).write_text("hello\n")

    def names(text):
        return [shard.name for shard in open_corpus(text)]

    here = tmp_path / "[ab]*?"
    assert names(f"{here}/t*.txt") == [f"{here}/two.txt"]
    assert names(f"{here}/[t]wo.txt") == [f"{here}/[t]wo.txt"]
    monkeypatch.chdir(here)
    assert names("*o.txt") == ["[t]wo.txt", "two.txt"]
    monkeypatch.chdir(tmp_path)
    assert names("[ab]*?/one*") == ["[ab]*?/one.txt"] and names("a*/one.txt") == [
        "a/one.txt", "a1x/one.txt"
    ]  # fmt: skip


def test_a_folder_behind_a_link_is_read(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.txt").write_text("hello\n")
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "link").symlink_to(tmp_path / "elsewhere")
    assert len(open_corpus(str(tmp_path / "corpus"))) == 1


@pytest.mark.parametrize("name", ["a.txt.gz", "a.json.gz"])
def test_what_unpacks_to_far_more_than_text_does_is_refused(tmp_path, monkeypatch, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress(b'{"text": "' + b"a " * (2 << 20) + b'"}\n'))
    (shard,) = open_corpus(str(path))
    assert sum(len(entry.text) for entry in shard.entries()) >= 4 << 20  # Small: let pass.
    monkeypatch.setattr(text_files, "ALWAYS_UNPACKED", 1 << 20)
    with pytest.raises(UserError, match=f"{name}: damaged .unpacks to more than 200 times"):
        list(shard.entries())


def blocks(folder, records=(bytes(16),) * 2, counts=None, contents=None, **layout):
    """Makes a folder of blocks and reads all of it."""
    writer = ArrayRecordWriter(str(folder / "blocks-00000-of-00001.array_record"), "group_size:1")
    for record in records:
        writer.write(record)
    writer.close()
    contents = [{"blocks": len(records)}] if contents is None else contents
    settings = {"layout": LAYOUT | layout}
    corpus = {"settings": settings, "totals": {}, "contents": contents}
    (folder / "corpus.json").write_text(json.dumps(corpus))
    (folder / "token_counts.npy").write_bytes(
        npy(np.zeros(10, np.int64)) if counts is None else counts
    )
    source = BlockSource(folder)
    source.token_counts()
    return source.gather(np.arange(len(source)))["input_ids"]


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npz(array):
    buffer = io.BytesIO()
    np.savez(buffer, array)
    return buffer.getvalue()


def test_blocks_that_are_what_they_seem_are_read(tmp_path):
    assert blocks(tmp_path).shape == (2, 8)


@pytest.mark.parametrize(
    "changes",
    [
        dict(records=[bytes(16), bytes(14)]),
        dict(records=[bytes(16), bytes(13)]),
        dict(records=[bytes(160), bytes(160)]),
        dict(records=[b"\xff" * 16]),  # Tokens that the vocabulary has not.
        dict(num_tokens="8"),
        dict(num_tokens=10**12),
        dict(vocab_size=-1),
        dict(contents=[{"blocks": -5}]),
        dict(contents=[{"blocks": "5"}]),
        dict(contents=[]),
        dict(counts=npy(np.zeros(3, np.int64))),
        dict(counts=npy(np.zeros(10))),
        dict(counts=npy(np.zeros(10, np.int64))[:-8]),
        dict(counts=npy(np.zeros(10, np.int64)).replace(b"(10,), ", b"(1099511627776,), ")),
        dict(counts=npz(np.zeros(10, np.int64))),
        dict(counts=npy(np.array([dict()], dtype=object))),
    ],
)
def test_blocks_that_are_something_else_are_refused(tmp_path, changes):
    with pytest.raises(UserError, match="made again"):
        blocks(tmp_path, **changes)


@pytest.mark.parametrize(
    "text", ["[" * 10**6, "[]", '{"settings": 3}', '{"settings": {"layout": 3}}']
)
def test_a_description_of_blocks_that_cannot_be_is_refused(tmp_path, text):
    (tmp_path / "corpus.json").write_text(text)
    with pytest.raises(UserError, match="holds no corpus that is whole"):
        BlockSource(tmp_path)
