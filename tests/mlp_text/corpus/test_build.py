"""Corpora built into folders of blocks, in good and in bad circumstances."""

import gzip
import json
import os
import pickle
import resource
import subprocess
import sys
import time

import numpy as np
import pytest

from mlp_core.errors import UserError
from mlp_text.corpus import all_cores, shard_blocks
from mlp_text.corpus.block_source import BlockSource
from mlp_text.corpus.build import build_corpus, corpus_name
from mlp_text.corpus.sources import open_corpus
from tests.conftest import ROOT
from tests.mlp_text.corpus.made_corpora import (
    ids_of,
    layout_of,
    make_documents,
    make_tokenizer,
    one_a_block_by_hand,
    packed_by_hand,
    write_json_lines,
)


def make_shards(folder, number=3, documents=200):
    """Shards of different sizes, and the documents of each."""
    folder.mkdir()
    made = [make_documents(documents + 10 * i, seed=i) for i in range(number)]
    for i, texts in enumerate(made):
        write_json_lines(folder / f"{i}.json.gz", texts)
    return open_corpus(str(folder)), made


def content_of(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def all_blocks(source):
    return source.gather(np.arange(len(source)))["input_ids"].tolist()


@pytest.mark.parametrize("where", ["here", "processes"])
@pytest.mark.parametrize(
    "packing, by_hand", [("packed", packed_by_hand), ("document", one_a_block_by_hand)]
)
def test_blocks_on_disk_are_those_of_a_plain_loop(where, packing, by_hand, tmp_path, monkeypatch):
    monkeypatch.setattr(shard_blocks, "BATCH_CHARACTERS", 500)
    if where == "processes":
        monkeypatch.setattr(all_cores, "WORTH_A_PROCESS", 1)
    tokenizer = make_tokenizer(tmp_path)
    shards, made = make_shards(tmp_path / "text")
    layout = layout_of(tokenizer, 16, packing)
    source = build_corpus(shards, tokenizer, layout, tmp_path / "blocks", num_workers=2)
    expected = [block for texts in made for block in by_hand(texts, 16)]
    assert all_blocks(source) == expected and len(source) == len(expected)
    counts = np.bincount(np.array(expected).ravel(), minlength=tokenizer.vocab_size)
    counts[[tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id]] = 0
    np.testing.assert_array_equal(source.token_counts(), counts)
    assert source.totals == {
        "blocks": len(expected),
        "documents": sum(map(len, made)),
        "empty_documents": 0,
        "text_bytes": sum(len(text) for texts in made for text in texts),
        "tokens": counts.sum(),
        "faults": 0,
    }
    names = [f"blocks-{i:05d}-of-00003.array_record" for i in range(3)]
    assert sorted(content_of(tmp_path / "blocks")) == [*names, "corpus.json", "token_counts.npy"]


@pytest.fixture
def built(tmp_path):
    """A source, and all of its blocks."""
    tokenizer = make_tokenizer(tmp_path)
    shards, made = make_shards(tmp_path / "text")
    source = build_corpus(shards, tokenizer, layout_of(tokenizer), tmp_path / "blocks")
    return source, np.array([block for texts in made for block in packed_by_hand(texts, 16)])


def test_blocks_are_gathered_in_any_order_and_more_than_once(built):
    source, blocks = built
    for copy in (source, pickle.loads(pickle.dumps(source))):
        indices = np.random.default_rng(0).integers(0, len(blocks), 100)
        batch = copy.gather(indices)
        assert {name: rows.dtype for name, rows in batch.items()} == {
            "input_ids": np.int32,
            "index": np.int32,
        }
        np.testing.assert_array_equal(batch["input_ids"], blocks[indices])
        np.testing.assert_array_equal(batch["index"], indices)


def test_a_damaged_file_of_blocks_is_named(built, tmp_path):
    path = tmp_path / "blocks" / "blocks-00001-of-00003.array_record"
    path.write_bytes(path.read_bytes()[:-1000])
    source = BlockSource(tmp_path / "blocks")
    with pytest.raises(UserError, match=f"^{path}: missing or damaged"):
        source.gather(np.arange(len(source)))
    path.unlink()
    with pytest.raises(UserError, match=f"^{path}: missing or damaged"):
        source.gather(np.arange(len(source)))


@pytest.mark.parametrize("content", [None, b"", b"[]"])
def test_damaged_counts_are_named(content, built, tmp_path):
    path = tmp_path / "blocks" / "token_counts.npy"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(UserError, match=f"^{path}: missing or damaged; remove the folder"):
        built[0].token_counts()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"settings": []}'])
def test_a_damaged_description_is_named(content, tmp_path):
    tokenizer = make_tokenizer(tmp_path)
    shards, _ = make_shards(tmp_path / "text", number=1)
    (tmp_path / "blocks").mkdir()
    (tmp_path / "blocks" / "corpus.json").write_text(content)
    with pytest.raises(UserError, match="blocks/corpus.json: damaged; remove the folder"):
        build_corpus(shards, tokenizer, layout_of(tokenizer), tmp_path / "blocks")


def test_a_full_disk_is_told_with_what_helps(tmp_path):
    tokenizer = make_tokenizer(tmp_path)
    shards, _ = make_shards(tmp_path / "text", number=1, documents=2000)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(UserError, match="File too large.; make room, or name another place"):
            build_corpus(shards, tokenizer, layout_of(tokenizer), tmp_path / "blocks")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in (tmp_path / "blocks").iterdir()] == ["corpus.json"]
    assert len(build_corpus(shards, tokenizer, layout_of(tokenizer), tmp_path / "blocks"))


def test_a_shard_of_the_longest_name_can_be_built(tmp_path):
    tokenizer = make_tokenizer(tmp_path)
    path = write_json_lines(tmp_path / ("x" * 250 + ".json"), make_documents(3))
    shards = open_corpus(str(path))
    name = corpus_name(shards, tokenizer, layout_of(tokenizer))
    assert len(build_corpus(shards, tokenizer, layout_of(tokenizer), tmp_path / name))


def test_what_is_built_is_not_built_again(tmp_path, capsys):
    tokenizer = make_tokenizer(tmp_path)
    shards, _ = make_shards(tmp_path / "text")
    build_corpus(shards, tokenizer, layout_of(tokenizer), tmp_path / "blocks")
    assert "Tokenises 3 of 3 shards" in capsys.readouterr().out
    build_corpus(shards, tokenizer, layout_of(tokenizer), tmp_path / "blocks")
    assert capsys.readouterr().out == ""


def test_another_text_tokenizer_or_layout_has_another_name_and_is_refused_in_the_folder(tmp_path):
    tokenizer, other = make_tokenizer(tmp_path), make_tokenizer(tmp_path, ["more"])
    shards, _ = make_shards(tmp_path / "text")
    right = (shards, tokenizer, layout_of(tokenizer))
    build_corpus(*right, tmp_path / "blocks")
    wrong = {
        "text": (shards[:2], tokenizer, layout_of(tokenizer)),
        "tokenizer": (shards, other, layout_of(tokenizer)),
        "layout of blocks": (shards, tokenizer, layout_of(tokenizer, packing="document")),
    }
    assert len({corpus_name(*made) for made in (right, *wrong.values())}) == 4
    for name, made in wrong.items():
        with pytest.raises(UserError, match=f"made with another {name}; remove it"):
            build_corpus(*made, tmp_path / "blocks")


KILLED_IN_THE_MIDDLE = """
import os, sys, time
from pathlib import Path
from mlp_text.corpus import all_cores, shard_blocks
from mlp_text.corpus.build import build_corpus
from mlp_text.corpus.sources import open_corpus
from mlp_text.tokens.tokenizer import open_tokenizer
from tests.mlp_text.corpus.made_corpora import layout_of

class Slow:
    def __init__(self, shard):
        self.shard, self.name, self.num_bytes = shard, shard.name, shard.num_bytes
    def identity(self):
        return self.shard.identity()
    def entries(self):
        for i, entry in enumerate(self.shard.entries()):
            if i > 100 and not self.name.endswith("0.json.gz"):
                Path(sys.argv[1], "stuck").touch()
                time.sleep(100)
            yield entry

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    shard_blocks.BATCH_CHARACTERS = 500
    all_cores.WORTH_A_PROCESS = int(sys.argv[2])
    tokenizer = open_tokenizer(folder / "vocab0.txt")
    shards = [Slow(shard) for shard in open_corpus(str(folder / "text"))]
    build_corpus(shards, tokenizer, layout_of(tokenizer), folder / "blocks", 3)
"""


@pytest.mark.parametrize("worth", [1, 1 << 30], ids=["processes", "here"])
def test_a_killed_build_goes_on_from_the_shards_that_are_done(worth, tmp_path):
    tokenizer = make_tokenizer(tmp_path)
    shards, _ = make_shards(tmp_path / "text")
    build_corpus(shards, tokenizer, layout_of(tokenizer), tmp_path / "unkilled")
    script = tmp_path / "script.py"
    script.write_text(KILLED_IN_THE_MIDDLE)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    build = subprocess.Popen(
        [sys.executable, script, tmp_path, str(worth)],
        env=environment, start_new_session=True, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    folder, done = tmp_path / "blocks", tmp_path / "blocks" / "blocks-00000-of-00003.json"
    deadline = time.monotonic() + 120
    while not (done.exists() and (tmp_path / "stuck").exists()):
        assert build.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    build.kill()
    # Processes hold stderr open too, so that it ends only when the last of them has.
    build.communicate(timeout=50)
    blocks = folder / "blocks-00000-of-00003.array_record"
    finished = blocks.stat()
    assert len(list(folder.glob("*.array_record"))) == 1 and list(folder.glob(".*.part"))
    with pytest.raises(UserError, match="holds no corpus that is whole"):
        BlockSource(folder)
    build_corpus(shards, tokenizer, layout_of(tokenizer), folder)
    assert content_of(folder) == content_of(tmp_path / "unkilled")
    assert (blocks.stat().st_ino, blocks.stat().st_mtime_ns) == (
        finished.st_ino,
        finished.st_mtime_ns,
    )


def test_bad_lines_are_counted_told_and_left_out(tmp_path, capsys):
    tokenizer, documents = make_tokenizer(tmp_path), make_documents(20)
    lines = [json.dumps({"text": text}).encode() for text in documents]
    bad = [b"{", b"[1]", b'{"text": null}', b'{"text": "\\ud800"}', b'{"text": "\xff"}']
    empty = [b"", b'{"text": " \\n"}', b'{"text": ""}']
    (tmp_path / "a.json").write_bytes(b"\n".join([*lines[:10], *bad, *empty, *lines[10:]]))
    source = build_corpus(
        open_corpus(str(tmp_path / "a.json")), tokenizer, layout_of(tokenizer), tmp_path / "blocks"
    )
    assert all_blocks(source) == packed_by_hand(documents, 16)
    assert (source.totals["faults"], source.totals["empty_documents"]) == (5, 2)
    told = f"{tmp_path}/a.json: 5 entries are no documents and left out, the first is number 11"
    assert f"{told} (no JSON)\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    "line, fault",
    [
        (b"{", "no JSON"),
        (b'{"txt": "a"}', "without a field 'text' of text"),
        (b'{"text": "\\ud800"}', "half a character"),
        (b'{"text": "\xff"}', "not UTF-8"),
        (b'{"text": "' + b"a" * 5000 + b'"}', "longer than"),
    ],
)
def test_too_many_bad_lines_end_the_build_in_a_sentence(line, fault, tmp_path, monkeypatch):
    monkeypatch.setattr("mlp_text.corpus.text_files.LONGEST_LINE", 4000)
    tokenizer, documents = make_tokenizer(tmp_path), make_documents(594, most_words=5)
    lines = [json.dumps({"text": text}).encode() for text in documents]
    (tmp_path / "a.json").write_bytes(b"\n".join([*lines[:7], *[line] * 6, *lines[7:]]))
    shards = open_corpus(str(tmp_path / "a.json"))
    build_corpus(shards, tokenizer, layout_of(tokenizer), tmp_path / "just_let_pass")
    (tmp_path / "a.json").write_bytes(b"\n".join([*lines[:7], *[line] * 7, *lines[7:]]))
    shards = open_corpus(str(tmp_path / "a.json"))
    message = f"a.json: 7 of 601 entries are no documents, the first is number 8 .{fault}"
    with pytest.raises(UserError, match=message):
        build_corpus(shards, tokenizer, layout_of(tokenizer), tmp_path / "blocks")


def test_a_shard_of_nothing_but_bad_lines_ends_the_build(tmp_path):
    tokenizer = make_tokenizer(tmp_path)
    write_json_lines(tmp_path / "a.json", make_documents(3))
    (tmp_path / "b.json").write_text("<html>\n404\n</html>\n")
    with pytest.raises(UserError, match="b.json: 3 of 3 entries are no documents, .* remove it"):
        build_corpus(
            open_corpus(f"{tmp_path}/?.json"), tokenizer, layout_of(tokenizer), tmp_path / "blocks"
        )


@pytest.mark.parametrize("damage", ["cut short", "damaged"])
def test_a_shard_that_cannot_be_read_is_named_and_the_others_stay(damage, tmp_path):
    tokenizer = make_tokenizer(tmp_path)
    shards, made = make_shards(tmp_path / "text")
    path = tmp_path / "text" / "1.json.gz"
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(
        whole[:middle] if damage == "cut short" else whole[:middle] + b"\0" * 99 + whole[middle:]
    )
    shards = open_corpus(str(tmp_path / "text"))
    with pytest.raises(UserError, match=f"^{path}: {damage}.*; fetch it again.$"):
        build_corpus(shards, tokenizer, layout_of(tokenizer), tmp_path / "blocks")
    done = [path.name for path in sorted((tmp_path / "blocks").glob("*.array_record"))]
    assert done == ["blocks-00000-of-00003.array_record"]


def test_a_file_that_is_no_gzip_is_named(tmp_path):
    tokenizer = make_tokenizer(tmp_path)
    (tmp_path / "a.json.gz").write_text('{"text": "ba"}')
    with pytest.raises(UserError, match=f"^{tmp_path}/a.json.gz: damaged"):
        build_corpus(
            open_corpus(f"{tmp_path}/a.json.gz"), tokenizer, layout_of(tokenizer), tmp_path / "b"
        )


def test_a_corpus_without_text_is_told(tmp_path):
    tokenizer = make_tokenizer(tmp_path)
    shards = open_corpus(str(write_json_lines(tmp_path / "a.json.gz", [" ", ""])))
    with pytest.raises(UserError, match="a.json.gz: there is no text in this corpus"):
        build_corpus(shards, tokenizer, layout_of(tokenizer), tmp_path / "blocks")


def test_a_long_document_is_taken_as_several_that_lose_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(shard_blocks, "LONGEST_TEXT", 100)
    tokenizer = make_tokenizer(tmp_path)
    documents = make_documents(3, most_words=500)
    shards = open_corpus(str(write_json_lines(tmp_path / "a.json.gz", documents)))
    source = build_corpus(shards, tokenizer, layout_of(tokenizer), tmp_path / "blocks")
    assert source.totals["documents"] > 3
    tokens = np.array(all_blocks(source))
    tokens = tokens[tokens > 4].tolist()
    assert tokens == [i for document in documents for i in ids_of(document)]


def test_two_builds_at_once_do_the_work_once(tmp_path):
    tokenizer = make_tokenizer(tmp_path)
    make_shards(tmp_path / "text")
    code = (
        "import sys; from pathlib import Path\n"
        "from mlp_text.corpus.build import build_corpus\n"
        "from mlp_text.corpus.sources import open_corpus\n"
        "from mlp_text.tokens.tokenizer import open_tokenizer\n"
        "from tests.mlp_text.corpus.made_corpora import layout_of\n"
        "folder = Path(sys.argv[1])\n"
        "tokenizer = open_tokenizer(folder / 'vocab0.txt')\n"
        "shards = open_corpus(str(folder / 'text'))\n"
        "input()\n"
        "build_corpus(shards, tokenizer, layout_of(tokenizer), folder / 'blocks')\n"
    )
    builds = [
        subprocess.Popen(
            [sys.executable, "-c", code, tmp_path],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    for build in builds:
        build.stdin.write("\n")
        build.stdin.flush()
    said = "".join(build.communicate(timeout=100)[0] for build in builds)
    assert [build.returncode for build in builds] == [0, 0]
    assert said.count("Tokenises 3 of 3 shards") == 1
    assert tokenizer.vocab_size == BlockSource(tmp_path / "blocks").layout.vocab_size


def test_a_gzip_file_of_several_members_is_read_whole(tmp_path):
    tokenizer, documents = make_tokenizer(tmp_path), make_documents(20)
    lines = [gzip.compress(json.dumps({"text": text}).encode() + b"\n") for text in documents]
    (tmp_path / "a.jsonl.gz").write_bytes(b"".join(lines))
    shards = open_corpus(str(tmp_path / "a.jsonl.gz"))
    source = build_corpus(shards, tokenizer, layout_of(tokenizer), tmp_path / "blocks")
    assert all_blocks(source) == packed_by_hand(documents, 16)
