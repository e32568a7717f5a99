import io
import json
import pickle

import numpy as np
import pytest
import tokenizers
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer
from tokenizers import models, pre_tokenizers

from mlp_core.errors import UserError
from mlp_text.tokens.sentencepiece_model import parse_model
from mlp_text.tokens.special_tokens import SPECIAL_TOKENS
from mlp_text.tokens.tokenizer import Tokenizer, open_tokenizer
from tests.mlp_text.data.english import ODD, PARAGRAPHS

WORDS = ["the", "cat", "sat", "on", "mat", "un", "##able", "##s", ",", "."]


def write_vocabulary(folder, pieces):
    folder.mkdir(exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    return folder / "vocab.txt"


@pytest.fixture
def small(tmp_path) -> Tokenizer:
    return open_tokenizer(write_vocabulary(tmp_path, [*SPECIAL_TOKENS, *WORDS]))


@pytest.fixture(scope="module")
def bert(real_data) -> Tokenizer:
    return open_tokenizer(real_data / "bert_vocab")


def train_sentencepiece(**settings) -> bytes:
    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(PARAGRAPHS[:1500]),
        model_writer=model,
        vocab_size=700,
        minloglevel=2,
        **settings,
    )
    return model.getvalue()


def open_sentencepiece(folder, model: bytes, **settings) -> Tokenizer:
    (folder / "spiece.model").write_bytes(model)
    return open_tokenizer(folder, **settings)


def test_published_bert_vocabulary_gives_the_ids_of_bert(bert):
    batch = bert.encode(["hello, world!", "Héllo,  WORLD !\n", ""], max_length=8)
    hello = [101, 7592, 1010, 2088, 999, 102, 0, 0]
    assert batch["input_ids"].tolist() == [hello, hello, [101, 102, 0, 0, 0, 0, 0, 0]]
    assert batch["attention_mask"].sum(-1).tolist() == [6, 6, 2]
    assert not batch["token_type_ids"].any()
    assert [batch[name].dtype for name in batch] == [np.int32, np.uint8, np.uint8]
    assert bert.ids(["unbelievably 日本"]) == [[4895, 8671, 2666, 3567, 6321, 1864, 1876]]
    assert bert.tokens([4895, 8671]) == ["un", "##bel"]
    assert bert.decode([101, 7592, 1010, 2088, 999, 102]) == "hello, world!"
    assert bert.vocab_size == 30_522
    assert (bert.pad_id, bert.unk_id, bert.cls_id, bert.sep_id) == (0, 100, 101, 102)
    assert bert.mask_id == 103 and bert.special_ids == (0, 100, 101, 102, 103)
    assert bert.continuation.sum() == 5_828


def test_rows_are_those_of_the_library_with_its_own_cutting_and_padding(bert):
    texts = [text for text in ODD + PARAGRAPHS[:80] if len(text) < 400]
    pairs = texts[::-1]
    library = tokenizers.Tokenizer.from_str(bert.to_json())
    for max_length in (4, 5, 16, 33):
        library.enable_truncation(max_length, strategy="longest_first")
        library.enable_padding(length=max_length, pad_id=0)
        for inputs, batch in (
            (texts, bert.encode(texts, max_length=max_length)),
            (list(zip(texts, pairs, strict=True)), bert.encode(texts, pairs, max_length)),
        ):
            rows = library.encode_batch(inputs)
            np.testing.assert_array_equal(batch["input_ids"], [row.ids for row in rows])
            np.testing.assert_array_equal(batch["token_type_ids"], [row.type_ids for row in rows])
            masks = [row.attention_mask for row in rows]
            np.testing.assert_array_equal(batch["attention_mask"], masks)


def test_of_a_pair_the_longer_text_is_cut_first(small):
    def tokens(text, pair, max_length):
        batch = small.encode([text], [pair], max_length)
        return " ".join(small.tokens(batch["input_ids"][0])), batch["token_type_ids"][0].tolist()

    row, second = tokens("the cat sat on the mat", "the cat", 8)
    assert row == "[CLS] the cat sat [SEP] the cat [SEP]" and second == [0] * 5 + [1] * 3
    assert tokens("the", "the cat sat on the mat", 8)[0] == "[CLS] the [SEP] the cat sat on [SEP]"
    assert tokens("the cat sat", "on the mat", 8)[0] == "[CLS] the cat [SEP] on the mat [SEP]"
    row, second = tokens("", "the", 6)
    assert row == "[CLS] [SEP] the [SEP] [PAD] [PAD]" and second == [0, 0, 1, 1, 0, 0]


def test_no_texts_make_an_empty_batch(small):
    assert small.encode([], max_length=7)["input_ids"].shape == (0, 7)
    assert small.encode([], [], max_length=7)["token_type_ids"].shape == (0, 7)
    assert small.ids([]) == []


def test_a_mask_in_the_text_is_the_mask(small):
    ids = small.ids(["the [MASK] sat."])[0]
    assert ids == [5, small.mask_id, 7, 14]


def test_pieces_that_go_on_with_a_word_are_known(small):
    continued = np.flatnonzero(small.continuation)
    assert small.tokens(continued) == ["##able", "##s"]


def test_casing_is_told_by_argument_then_settings_then_vocabulary(tmp_path):
    uncased = write_vocabulary(tmp_path / "uncased", [*SPECIAL_TOKENS, "the", "é", "e", "ℝ"])
    cased = write_vocabulary(tmp_path / "cased", [*SPECIAL_TOKENS, "The", "the", "e", "é"])
    assert open_tokenizer(uncased).ids(["The É"]) == [[5, 7]]
    assert open_tokenizer(cased).ids(["The é"]) == [[5, 8]]
    assert open_tokenizer(cased, lowercase=True).ids(["The é"]) == [[6, 7]]
    assert open_tokenizer(uncased, lowercase=False).ids(["The é"]) == [[1, 6]]
    settings = uncased.with_name("tokenizer_config.json")
    settings.write_text(json.dumps({"do_lower_case": False}))
    assert open_tokenizer(uncased).ids(["The é"]) == [[1, 6]]
    settings.write_text(json.dumps({"do_lower_case": True, "strip_accents": False}))
    assert open_tokenizer(uncased).ids(["The É"]) == [[5, 6]]


@pytest.mark.parametrize("kind", ["vocab.txt", "tokenizer.json"])
def test_settings_beside_a_vocabulary_hold_for_either_kind_of_file(tmp_path, kind):
    path = write_vocabulary(tmp_path, [*SPECIAL_TOKENS, "the", "The", "é", "e", "中文", "中"])
    json_file = tmp_path / "tokenizer.json"
    json_file.write_text(open_tokenizer(path).to_json(), encoding="utf-8")
    settings = {"do_lower_case": True, "strip_accents": False, "tokenize_chinese_chars": False}
    text = "\ufeff" + json.dumps(settings)
    (tmp_path / "tokenizer_config.json").write_text(text, encoding="utf-8")
    assert open_tokenizer(tmp_path / kind).ids(["The É 中文"]) == [[5, 7, 9]]
    (tmp_path / "tokenizer_config.json").write_text("{}")
    assert open_tokenizer(tmp_path / kind).ids(["The É 中"]) == [[6, 1, 10]]
    for name, value in {"word_tokenizer_type": "mecab", "do_basic_tokenize": False}.items():
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({name: value}))
        with pytest.raises(UserError, match=f"{name} is {value!r}, which is not supported"):
            open_tokenizer(tmp_path / kind)


def test_lines_end_as_on_any_system_and_only_there(tmp_path):
    path = tmp_path / "windows.txt"
    path.write_bytes("\r\n".join([*SPECIAL_TOKENS, "the", "\u2028", "cat"]).encode())
    assert open_tokenizer(path).ids(["the cat"]) == [[5, 7]]


def test_a_mark_in_front_of_a_vocabulary_is_no_part_of_it(tmp_path):
    path = write_vocabulary(tmp_path, [*SPECIAL_TOKENS, "the"])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert open_tokenizer(path).tokens([0, 5]) == ["[PAD]", "the"]


def test_of_equal_lines_the_last_counts_and_no_id_moves(tmp_path, capsys):
    path = write_vocabulary(tmp_path, [*SPECIAL_TOKENS, "the", "cat", "the", "sat", "the"])
    tokenizer = open_tokenizer(path)
    assert f"Note: {path}: 2 lines are repeated" in capsys.readouterr().out
    assert tokenizer.ids(["the cat sat"]) == [[9, 6, 8]] and tokenizer.vocab_size == 10
    assert tokenizer.special_ids == (0, 1, 2, 3, 4, 5, 7)  # Never predicted nor drawn at random.
    assert Tokenizer.from_json(tokenizer.to_json()) == tokenizer


@pytest.mark.parametrize("end", ["", "\n", "\n\n\n", "\r\n\r\n"])
def test_blank_lines_at_the_end_of_a_vocabulary_are_no_pieces(tmp_path, end):
    path = tmp_path / "vocab.txt"
    path.write_bytes(("\n".join([*SPECIAL_TOKENS, "the", "cat"]) + end).encode())
    assert open_tokenizer(path).vocab_size == 7


def test_everything_survives_json_and_pickle(small, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "tokenizer.json").write_text(small.to_json(), encoding="utf-8")
    read = open_tokenizer(tmp_path / "run")
    assert read == small and hash(read) == hash(small)
    assert pickle.loads(pickle.dumps(small)) == small
    assert read.special_ids == small.special_ids and read.mask_id == small.mask_id
    other = open_tokenizer(write_vocabulary(tmp_path / "other", [*SPECIAL_TOKENS, "dog"]))
    assert other != small


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"byte_fallback": True, "split_digits": True},
        {"normalization_rule_name": "nmt_nfkc_cf", "split_by_whitespace": False},
    ],
    ids=["plain", "bytes", "beyond words"],
)
def test_sentencepiece_models_give_the_ids_of_sentencepiece(tmp_path, kind, settings):
    model = train_sentencepiece(model_type=kind, **settings)
    processor = SentencePieceProcessor(model_proto=model)
    texts = ODD + PARAGRAPHS[1500:2300]
    wanted, given = processor.encode(texts), open_sentencepiece(tmp_path, model).ids(texts)
    # Splits that score the same may go either way: the same pieces then, in another order.
    ties = 0
    for text, want, got in zip(texts, wanted, given, strict=True):
        assert sorted(got) == sorted(want), text
        ties += got != want
    assert ties < (len(texts) / 20 if kind == "unigram" else 1)


def test_special_tokens_that_a_model_lacks_are_appended(tmp_path, capsys):
    model = train_sentencepiece()
    tokenizer = open_sentencepiece(tmp_path, model)
    assert "[PAD], [MASK] appended" in capsys.readouterr().out
    assert tokenizer.vocab_size == 702
    assert (tokenizer.unk_id, tokenizer.cls_id, tokenizer.sep_id) == (0, 1, 2)
    assert (tokenizer.pad_id, tokenizer.mask_id) == (700, 701)
    assert tokenizer.tokens(tokenizer.ids(["the [MASK] is"])[0]) == ["▁the", "[MASK]", "▁is"]
    assert tokenizer.decode(tokenizer.ids(["The list  is empty."])[0]) == "The list is empty."
    assert Tokenizer.from_json(tokenizer.to_json()) == tokenizer
    assert "appended" not in capsys.readouterr().out


def test_special_tokens_that_a_model_declares_otherwise_are_found(tmp_path, capsys):
    model = train_sentencepiece(
        pad_id=3, control_symbols=["[CLS]", "<sep>"], user_defined_symbols=["[MASK]"]
    )
    tokenizer = open_sentencepiece(tmp_path, model)
    assert "appended" not in capsys.readouterr().out
    ids = tokenizer.encode(["the [MASK] is"], max_length=6)["input_ids"][0]
    assert tokenizer.tokens(ids) == ["[CLS]", "▁the", "[MASK]", "▁is", "<sep>", "<pad>"]
    assert tokenizer.special_ids == tuple(range(7))


@pytest.mark.parametrize("symbols", [[], ["[MASK]"]], ids=["appended", "declared"])
def test_the_space_before_a_mask_makes_no_piece_of_its_own(tmp_path, symbols):
    model = train_sentencepiece(remove_extra_whitespaces=False, control_symbols=symbols)
    tokenizer = open_sentencepiece(tmp_path, model)
    assert tokenizer.tokens(tokenizer.ids(["the [MASK] is"])[0]) == ["▁the", "[MASK]", "▁is"]


def test_in_sentencepiece_what_begins_no_word_goes_on_with_one(tmp_path):
    tokenizer = open_sentencepiece(tmp_path, train_sentencepiece())
    pieces = tokenizer.tokens(range(tokenizer.vocab_size))
    for piece, continues in zip(pieces, tokenizer.continuation, strict=True):
        special = piece in ("<unk>", "<s>", "</s>", "[PAD]", "[MASK]")
        assert continues == (not special and not piece.startswith("▁")), piece


def test_a_sentencepiece_model_may_be_given_lowercased_text(tmp_path):
    model = train_sentencepiece()
    lowered = open_sentencepiece(tmp_path, model, lowercase=True)
    cased = open_sentencepiece(tmp_path, model)
    assert lowered.ids(["The LIST is"]) == cased.ids(["the list is"]) != cased.ids(["The LIST is"])


def test_a_foreign_tokenizer_json_is_used_as_it_is(tmp_path):
    pieces = ["<s>", "</s>", "<pad>", "<unk>", "<mask>", "Ġthe", "the", "Ġcat", "s"]
    foreign = tokenizers.Tokenizer(
        models.BPE({piece: i for i, piece in enumerate(pieces)}, [], unk_token="<unk>")
    )
    foreign.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    foreign.enable_truncation(1)
    foreign.save(str(tmp_path / "tokenizer.json"))
    tokenizer = open_tokenizer(tmp_path)
    assert tokenizer.vocab_size == 9 and tokenizer.special_ids == (0, 1, 2, 3, 4)
    assert tokenizer.tokens(np.flatnonzero(tokenizer.continuation)) == ["the", "s"]
    assert tokenizer.ids(["s<mask>s"]) == [[8, 4, 8]]


def test_where_no_piece_begins_a_word_each_is_a_word(tmp_path):
    backend = tokenizers.Tokenizer(models.WordLevel({"[UNK]": 0, "the": 1}, unk_token="[UNK]"))
    backend.save(str(tmp_path / "tokenizer.json"))
    assert not open_tokenizer(tmp_path).continuation.any()


@pytest.mark.parametrize(
    "model", [models.WordLevel({"the": 0}, unk_token="<unk>"), models.Unigram([("the", 0.0)])]
)
def test_a_vocabulary_without_a_piece_for_unknown_text_is_refused(model, tmp_path):
    tokenizers.Tokenizer(model).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UserError, match="tokenizer.json: this vocabulary has no piece for unknown"):
        open_tokenizer(tmp_path)


def test_damaged_rules_of_a_sentencepiece_model_are_told(tmp_path):
    model = parse_model(train_sentencepiece())
    model.normalizer_spec.precompiled_charsmap = b"abc"
    with pytest.raises(UserError, match="a damaged SentencePiece model: its rules for characters"):
        open_sentencepiece(tmp_path, model.SerializeToString())


def test_a_folder_is_searched_in_order(tmp_path, small):
    model = train_sentencepiece()
    (tmp_path / "vocab.txt").unlink()
    (tmp_path / "a.model").write_bytes(model)
    assert open_tokenizer(tmp_path).vocab_size == 702
    (tmp_path / "b.model").write_bytes(model)
    with pytest.raises(UserError, match=r"several .model files \(a.model, b.model\)"):
        open_tokenizer(tmp_path)
    write_vocabulary(tmp_path, [*SPECIAL_TOKENS, "the"])
    assert open_tokenizer(tmp_path).vocab_size == 6
    (tmp_path / "tokenizer.json").write_text(small.to_json(), encoding="utf-8")
    assert open_tokenizer(tmp_path) == small


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("vocab.txt", b"", r"lacks \[PAD\], \[UNK\], \[CLS\], \[SEP\], \[MASK\]"),
        ("vocab.txt", b"[PAD]\n[UNK]\n[CLS]\n[SEP]\nthe\n", r"lacks \[MASK\] of its 5"),
        ("vocab.txt", b"[PAD]\n\xff\xfe\n", "not text"),
        ("vocab.txt", b"[PAD]\n\0\n", "zero bytes"),
        ("tokenizer.json", b'{"version": "1.0", "model": {"type": "Wo', "damaged"),
        ("tokenizer.json", b'{"some": "settings"}', "no tokenizer"),
        ("tokenizer.json", b"\xff\xfe", "no vocabulary can be read"),
        ("spiece.model", b"once upon a time", "no SentencePiece model"),
        ("spiece.model", b"", "no SentencePiece model"),
    ],
)
def test_what_is_no_vocabulary_is_told_in_a_sentence(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as raised:
        open_tokenizer(tmp_path / name)
    assert str(tmp_path / name) in str(raised.value)


def test_a_damaged_settings_file_is_named(tmp_path):
    path = write_vocabulary(tmp_path, [*SPECIAL_TOKENS, "the"])
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(UserError, match=r"tokenizer_config.json: damaged"):
        open_tokenizer(path)


@pytest.mark.parametrize("kind", ["char", "word"])
def test_models_of_characters_and_words_are_refused(tmp_path, kind):
    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(PARAGRAPHS[:200]),
        model_writer=model,
        model_type=kind,
        vocab_size=60,
        hard_vocab_limit=False,
        character_coverage=0.98,
        minloglevel=2,
    )
    with pytest.raises(UserError, match="of words or characters"):
        open_sentencepiece(tmp_path, model.getvalue())


def test_a_cut_model_is_told_in_a_sentence(tmp_path):
    with pytest.raises(UserError, match="no SentencePiece model"):
        open_sentencepiece(tmp_path, train_sentencepiece()[:-1000])


def test_a_missing_file_is_told_in_a_sentence(tmp_path):
    for name in ("vocab.txt", "tokenizer.json", "x.model"):
        with pytest.raises(UserError, match=f"{name}: no vocabulary can be read"):
            open_tokenizer(tmp_path / name)
    with pytest.raises(UserError, match="no tokenizer.json or vocab.txt or spiece.model there"):
        open_tokenizer(tmp_path)


def test_casing_that_a_tokenizer_does_not_have_is_refused(tmp_path, small):
    (tmp_path / "tokenizer.json").write_text(small.to_json(), encoding="utf-8")
    assert open_tokenizer(tmp_path, lowercase=True) == small
    with pytest.raises(UserError, match="lowercases, which lowercase=false cannot change"):
        open_tokenizer(tmp_path, lowercase=False)


def test_rows_without_room_for_text_are_refused(small):
    assert small.encode(["the"], max_length=3)["input_ids"].tolist() == [[2, 5, 3]]
    with pytest.raises(UserError, match=r"max_length=2 is too short.*make it 3 or more"):
        small.encode(["the"], max_length=2)
    with pytest.raises(UserError, match=r"max_length=3 is too short.*make it 4 or more"):
        small.encode(["the"], ["cat"], max_length=3)


def test_what_is_no_text_is_told_with_its_place(small):
    with pytest.raises(UserError, match="text 1,030 is no text but bytes"):
        small.encode(["the"] * 1030 + [b"cat"], max_length=8)
    with pytest.raises(UserError, match="text 1 cannot be written in UTF-8"):
        small.ids(["the", "c\udcffat"])
