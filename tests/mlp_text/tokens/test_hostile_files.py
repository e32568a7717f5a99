"""Vocabularies and descriptions of text models made to take all memory or break the program."""

import base64
import copy
import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from mlp_core.errors import UserError
from mlp_text.models.model_spec import read_spec
from mlp_text.tokens import wordpiece
from mlp_text.tokens.sentencepiece_model import _message_class
from mlp_text.tokens.tokenizer import LONGEST_TEXT, open_tokenizer
from mlp_text.weights.bert import open_bert, read_bert_config

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "world"]
UNITS = struct.pack("<I", 1024)  # The length of an array of rules for characters.


LONG_REPLACEMENT = base64.b64encode(UNITS + bytes(1024) + b"x" * 5000 + b"\0").decode()


def tokenizer_json(model=None, **parts):
    """A tokenizer of few words, or what else it is said to be."""
    wordpiece = {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
        "vocab": {piece: i for i, piece in enumerate(VOCABULARY)},
    }
    names = ("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder")
    whole = dict.fromkeys(names) | {"version": "1.0", "added_tokens": []}
    return json.dumps(whole | {"model": wordpiece | (model or {})} | parts)


def replace(content):
    return {"type": "Replace", "pattern": {"String": "h"}, "content": content}


def test_a_tokenizer_that_is_what_it_seems_is_read(tmp_path):
    (tmp_path / "tokenizer.json").write_text(tokenizer_json(normalizer=replace("hh")))
    assert open_tokenizer(tmp_path).vocab_size == 7


@pytest.mark.parametrize(
    "text, message",
    [
        ("[" * 1_000_000, "nested too deeply"),
        (tokenizer_json({"vocab": {"[UNK]": 0, "x": 2**32 - 1}}), "id 4,294,967,295"),
        (
            tokenizer_json(normalizer={"type": "Sequence", "normalizers": [replace("hhhh")] * 20}),
            "more than 1,000 times longer",
        ),
        (tokenizer_json(normalizer=replace("h" * 2000)), "2,000 characters into a text"),
        (tokenizer_json({"max_input_chars_per_word": 10**9}), "max_input_chars_per_word is 1,000,"),
        (tokenizer_json({"type": "BPE", "merges": [], "dropout": 0.1}), "dropout is 0.1"),
        (tokenizer_json({"continuing_subword_prefix": "#" * 2000}), "a piece of 2,000 characters"),
        (
            tokenizer_json({"type": "Unigram", "unk_id": 0, "vocab": [["a" * 2000, -1.0]]}),
            "a piece of 2,000 characters",
        ),
        (
            tokenizer_json(
                normalizer={"type": "Precompiled", "precompiled_charsmap": LONG_REPLACEMENT}
            ),
            "replaces a character by 5,000 bytes",
        ),
        (tokenizer_json(normalizer={"type": "Prepend", "prepend": "h" * 2000}), "2,000 characters"),
        (
            tokenizer_json(
                normalizer={"type": "Precompiled", "precompiled_charsmap": "/////wAAAAA="}
            ),
            "cut short",
        ),
        (
            tokenizer_json(
                {
                    "type": "BPE",
                    "vocab": {"a": 0, "b": 1, "ab": 2},
                    "merges": ["a b"],
                    "continuing_subword_prefix": "abc",
                }
            ),
            "the tokenizers library fails on it",
        ),
    ],
)
def test_tokenizers_that_would_break_the_library_are_refused(tmp_path, text, message):
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(UserError, match=rf"tokenizer\.json: .*{message}"):
        open_tokenizer(tmp_path)


def test_a_pattern_that_never_ends_is_told_when_it_meets_its_text(tmp_path):
    endless = {"Regex": "(x+x+)+y"}
    split = {"type": "Split", "pattern": endless, "behavior": "Removed", "invert": False}
    (tmp_path / "tokenizer.json").write_text(tokenizer_json(pre_tokenizer=split))
    tokenizer = open_tokenizer(tmp_path)
    with pytest.raises(UserError, match="the tokenizer fails on one of texts 0 to 0"):
        tokenizer.ids(["x" * 40])


def test_of_an_enormous_text_only_the_beginning_is_tokenised(tmp_path):
    words = tokenizer_json(pre_tokenizer={"type": "WhitespaceSplit"})
    (tmp_path / "tokenizer.json").write_text(words)
    tokenizer = open_tokenizer(tmp_path)
    late = "hello" + " " * LONGEST_TEXT + "world"
    rows = tokenizer.encode([late, "hello", "world " * LONGEST_TEXT], max_length=4)
    assert rows["input_ids"].tolist() == [[2, 5, 3, 0], [2, 5, 3, 0], [2, 6, 6, 3]]


def test_vocabularies_without_an_end_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "zero.model").symlink_to("/dev/zero")
    for name in ("pipe.txt", "zero.model"):
        with pytest.raises(UserError, match="not a regular file"):
            open_tokenizer(tmp_path / name)
    for name in ("vocab.txt", "tokenizer.json", "x.model"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(1 << 40)
        with pytest.raises(UserError, match="longer than the 64 MiB"):
            open_tokenizer(tmp_path / name)


def test_a_vocabulary_of_more_lines_than_any_has_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(wordpiece, "MOST_LINES", 20)
    (tmp_path / "vocab.txt").write_text("\n".join([*VOCABULARY, *["x"] * 14, ""]))
    with pytest.raises(UserError, match="more than 20 lines"):
        open_tokenizer(tmp_path)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"do_lower_case": 1}', '{"strip_accents": "x"}'])
def test_a_casing_that_cannot_be_is_told(tmp_path, text):
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY))
    (tmp_path / "tokenizer_config.json").write_text(text)
    with pytest.raises(UserError, match=r"tokenizer_config\.json: damaged"):
        open_tokenizer(tmp_path)


def sentencepiece(path, pieces=(), charsmap=b"", **trainer):
    model = _message_class("Model")()
    for piece in ("<unk>", "<s>", "</s>", "\u2581hello", "h", *pieces):
        model.pieces.add(piece=piece, score=-1.0)
    for name, value in trainer.items():
        setattr(model.trainer_spec, name, value)
    model.normalizer_spec.precompiled_charsmap = charsmap
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    "changes",
    [
        dict(unk_id=77),
        dict(unk_id=-1),
        dict(unk_id=77, model_type=2),
        dict(unk_id=-7, model_type=2),
        dict(pieces=["a" * 200_000], model_type=2),  # Of which every split would be looked at.
        dict(pieces=["a" * 900] * 12_000, model_type=2),
        dict(charsmap=UNITS + bytes(1024) + b"x" * 5000 + b"\0"),
        dict(charsmap=b"\xff\xff\xff\xff"),
        dict(charsmap=UNITS + bytes(1000)),
        dict(charsmap=UNITS + b"\xff\xff\xff\x7f" * 256 + b"a\0"),
        dict(charsmap=UNITS + bytes(1024) + b"\xff\xff\0"),
    ],
)
def test_sentencepiece_models_that_would_break_the_library_are_refused(tmp_path, changes):
    path = sentencepiece(tmp_path / "x.model")
    assert open_tokenizer(path).vocab_size == 7
    with pytest.raises(UserError, match=r"x\.model: "):
        open_tokenizer(sentencepiece(path, **changes))


def test_a_sentencepiece_model_of_bytes_that_are_no_text_is_refused(tmp_path):
    (tmp_path / "x.model").write_bytes(b"\x0a\x04\x0a\x02\xff\xfe")
    with pytest.raises(UserError, match="piece 0 is no text"):
        open_tokenizer(tmp_path / "x.model")


@pytest.mark.parametrize("text", ["[" * 10**6, '{"vocab_size": ' + "9" * 10**5 + "}", "\xff"])
def test_configurations_of_bert_that_cannot_be_are_told(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=r"config\.json: no configuration of a BERT"):
        read_bert_config(tmp_path / "config.json")


def test_an_absurdly_long_setting_does_not_fill_the_screen(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"hidden_act": "x" * 10**6}))
    with pytest.raises(UserError, match="hidden_act is 'xxx") as caught:
        read_bert_config(tmp_path / "config.json")
    assert len(str(caught.value)) < 1000


def test_a_bert_of_more_blocks_than_any_model_has_is_refused(tmp_path):
    names = [f"encoder.layer.{i}.attention.self.query.weight" for i in range(1001)]
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file({name: np.zeros(1, np.float32) for name in names}, path)
    with pytest.raises(UserError, match="1,001 blocks are more than the 1,000"):
        open_bert(tmp_path)


@pytest.mark.parametrize("field", ["num_blocks", "vocab_size", "max_length", "hidden_dim"])
def test_descriptions_of_text_models_that_cannot_be_are_refused(tmp_path, field):
    sizes = dict(vocab_size=100, hidden_dim=8, num_blocks=2, ffn_dim=16, max_length=16)
    spec = {"encoder": {"architecture": "gmlp"} | sizes, "head": "masked_lm"}
    file = tmp_path / "model.json"
    file.write_text(json.dumps(spec))
    read_spec(file)
    absurd = copy.deepcopy(spec)
    absurd["encoder"][field] = 10**10
    for text in (json.dumps(absurd), "[" * 10**6):
        file.write_text(text)
        with pytest.raises(UserError, match=r"model\.json: does not describe a text model"):
            read_spec(file)
    file.unlink()
    file.symlink_to(Path("/dev/zero"))
    with pytest.raises(UserError, match="not a regular file"):
        read_spec(file)
