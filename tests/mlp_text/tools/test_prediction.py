"""Texts of the user's own: the right classes and words, and a sentence for what cannot be read."""

import dataclasses

import jax
import numpy as np
import pytest

import mlp_text
from mlp_core.errors import UserError
from mlp_text.data import synthetic
from mlp_text.tools import prediction
from mlp_text.tools.prediction import BATCH, Texts, as_records, predict, read_texts
from mlp_text.weights.loading import open_text_weights
from mlp_text.weights.pretrained import load_params
from tests.mlp_text.weights.golden_bert import changed_folder, golden_folder, with_vocabulary


def loaded(path):
    """Description, parameters and tokenizer: what `predict` begins with."""
    weights = open_text_weights(path)
    return weights.spec, load_params(weights, weights.spec), weights.tokenizer()


def test_each_text_gets_its_own_classes_the_likeliest_first(text_run):
    examples = synthetic.SYNTHETIC["synthetic_text"].load("validation")
    texts = examples.texts[: BATCH + 3]
    predictions = predict(*loaded(text_run), texts)
    assert [p.text for p in predictions] == texts
    names = [p.best[0][0] for p in predictions]
    right = np.array(["negative", "positive"])[examples.labels[: BATCH + 3]] == names
    assert right.mean() > 0.8
    model, params = mlp_text.load_pretrained(text_run)
    spec, _, tokenizer = loaded(text_run)
    logits = model.apply({"params": params}, **tokenizer.encode(texts[-1:], None, 16))
    shares = np.asarray(jax.nn.softmax(logits))[0]
    expected = sorted(zip(spec.class_names, shares, strict=True), key=lambda pair: -pair[1])
    assert [name for name, _ in predictions[-1].best] == [name for name, _ in expected]
    np.testing.assert_allclose(
        [share for _, share in predictions[-1].best], [share for _, share in expected], rtol=1e-4
    )


def test_a_mask_is_filled_with_the_words_that_the_model_finds_likeliest(tmp_path):
    folder = with_vocabulary(golden_folder(tmp_path))
    two, one = "a [MASK] the [MASK]", "[MASK]"
    predictions = predict(*loaded(folder), [two, one], top=3)
    assert [p.text for p in predictions] == [
        f"{two}  ([MASK] 1 of 2)",
        f"{two}  ([MASK] 2 of 2)",
        one,
    ]
    model, params = mlp_text.load_pretrained(folder, head="masked_lm")
    ids = mlp_text.open_tokenizer(folder).encode([two], None, 6)["input_ids"]
    logits = np.asarray(model.apply({"params": params}, ids))[0, 4, 5:]  # Behind the special ones.
    words = (folder / "vocab.txt").read_text().split("\n")[5:]
    order = np.argsort(-logits)[:3]
    assert [word for word, _ in predictions[1].best] == [words[i] for i in order]
    shares = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose([s for _, s in predictions[1].best], shares[order], rtol=1e-4)


def test_more_answers_than_there_are_is_all_of_them(text_run, mlm_run):
    assert len(predict(*loaded(text_run), ["bada"], top=1000)[0].best) == 2
    spec, params, tokenizer = loaded(mlm_run)
    best = predict(spec, params, tokenizer, ["the [MASK]"], top=1000)[0].best
    assert len(best) == spec.encoder.vocab_size - 5 and "[PAD]" not in dict(best)
    np.testing.assert_allclose(sum(share for _, share in best), 1, rtol=1e-4)


def test_pairs_are_read_together(text_run):
    spec, params, tokenizer = loaded(text_run)
    spec = dataclasses.replace(spec, takes_pairs=True)
    good, bad = synthetic.WORDS[40], synthetic.WORDS[10]
    one, other = predict(spec, params, tokenizer, [good, good], [good, bad])
    assert (one.text, other.text) == (f"{good} | {good}", f"{good} | {bad}")
    assert one.best != other.best
    with pytest.raises(UserError, match="reads pairs of texts"):
        predict(spec, params, tokenizer, ["bada"])


def test_one_bad_text_costs_the_others_no_answer(text_run, mlm_run):
    texts = ["bada", " ", "", "\u200b", "a\0b", "caf\udce9", " ".join(["bada"] * 20), "bada"]
    predictions = predict(*loaded(text_run), texts)
    assert [p.index for p in predictions] == list(range(len(texts)))
    assert [p.problem for p in predictions] == [
        *("", "empty", "empty", "empty", "a zero byte in it", "not UTF-8", "", ""),
    ]
    assert [len(p.best) for p in predictions] == [2, 0, 0, 0, 0, 0, 2, 2]
    alone = predict(*loaded(text_run), ["bada"])[0].best
    assert dict(predictions[0].best) == dict(predictions[7].best) == pytest.approx(dict(alone))
    spec, params, tokenizer = loaded(mlm_run)
    words = predict(spec, params, tokenizer, ["the word", "the [MASK]", "word " * 50 + "[MASK]"])
    assert words[0].problem == "no [MASK], which this model would fill in"
    assert words[2].problem == f"{words[0].problem}, in its first {spec.max_length} tokens"
    assert not words[1].problem and words[1].best
    assert [p.problem for p in predict(*loaded(text_run), ["", " "])] == ["empty"] * 2


def test_a_long_text_is_cut_as_in_training(text_run):
    spec, params, tokenizer = loaded(text_run)
    long = " ".join([*synthetic.WORDS[:30], *synthetic.WORDS[30:60] * 3])
    cut, whole = predict(spec, params, tokenizer, [long, "bada"])
    assert cut.is_cut and not whole.is_cut
    tokens = tokenizer.encode([long], None, spec.max_length)  # As data sets are read.
    model, _ = mlp_text.load_pretrained(text_run)
    shares = np.asarray(jax.nn.softmax(model.apply({"params": params}, **tokens)))[0]
    expected = dict(zip(spec.class_names, shares, strict=True))
    assert dict(cut.best) == pytest.approx(expected, rel=1e-4)


def test_of_a_bad_pair_the_reason_is_given(text_run):
    spec, params, tokenizer = loaded(text_run)
    spec = dataclasses.replace(spec, takes_pairs=True)
    both, half, none = predict(spec, params, tokenizer, ["a", "a", ""], ["b", " ", ""])
    assert both.best and half.problem == "one of its texts is empty" and none.problem == "empty"


def test_weights_without_a_head_answer_nothing(tmp_path):
    folder = changed_folder(
        tmp_path, lambda arrays: {n: a for n, a in arrays.items() if not n.startswith("cls.")}
    )
    with pytest.raises(UserError, match="no head that answers"):
        predict(*loaded(with_vocabulary(folder)), ["the [MASK]"])


def test_each_text_has_a_record(text_run, mlm_run):
    texts = Texts(["bada", "", "bada"], None, {})
    records = list(as_records(texts, predict(*loaded(text_run), texts.texts), fills_in=False))
    assert [record["number"] for record in records] == [1, 2, 3]
    assert [record["text"] for record in records] == texts.texts
    assert (records[1]["answers"], records[1]["problem"]) == (None, "empty")
    assert records[0]["problem"] is None and len(records[0]["answers"]) == 2
    assert sum(a["probability"] for a in records[0]["answers"]) == pytest.approx(1)
    texts = Texts(["[MASK] the [MASK]", "the"], None, {})
    predictions = predict(*loaded(mlm_run), texts.texts, top=3)
    records = list(as_records(texts, predictions, fills_in=True))
    assert [len(place) for place in records[0]["answers"]] == [3, 3]
    assert records[1]["answers"] is None


def test_a_vocabulary_that_is_not_that_of_the_weights_is_refused(tmp_path):
    weights = open_text_weights(with_vocabulary(golden_folder(tmp_path), size=119))
    with pytest.raises(
        UserError, match="beside these weights has 119 tokens, the weights have 120"
    ):
        weights.tokenizer()


def test_texts_come_from_the_command_line_and_a_file(tmp_path):
    file = tmp_path / "texts.txt"
    file.write_text("\ufeffthird\nna\u00efve \u2028 one\n", encoding="utf-8")
    texts = ["first", "second", "third", "na\u00efve \u2028 one"]
    assert read_texts(["first", "second"], file, False) == (texts, None, {})
    file.write_text("c\td\r\ne\tf")
    assert read_texts(["a", "b"], file, True) == (["a", "c", "e"], ["b", "d", "f"], {})


LINES = {
    "Latin-1": (
        b"good\ncaf\xe9\n",
        False,
        ["good", "caf\ufffd"],
        {1: "not UTF-8 (byte 3 of the l"},
    ),
    "empty lines": (b"\ngood\n\nbad\n\n", False, ["", "good", "", "bad", ""], {}),
    "a pair for a model of one": (b"good\none\ttwo", False, ["good", "one\ttwo"], {1: "2 tab-sep"}),
    "half a pair": (b"one\ttwo\nhalf\n", True, ["one", "half"], {1: "1 tab-separated text(s); "}),
    "too many of a pair": (b"a\tb\tc\td\na\tb\n", True, ["a", "a"], {0: "4 tab-separated text"}),
    "too long": (
        b"x" * 300 + b"\ngood\n" + b"x" * 300,
        False,
        ["", "good", ""],
        {0: "lo", 2: "lo"},
    ),
    "just short enough": (b"x" * 99 + b"\n" + b"x" * 100, False, ["x" * 99, "x" * 100], {}),
}


@pytest.mark.parametrize("content, takes_pairs, texts, problems", LINES.values(), ids=LINES.keys())
def test_each_line_of_a_file_has_a_row(
    content, takes_pairs, texts, problems, tmp_path, monkeypatch
):
    monkeypatch.setattr(prediction, "LONGEST_LINE", 100)
    file = tmp_path / "texts.txt"
    file.write_bytes(content)
    read = read_texts([], file, takes_pairs)
    assert read.texts == texts and read.problems.keys() == problems.keys()
    assert all(read.problems[row].startswith(problem) for row, problem in problems.items())
    assert not takes_pairs or len(read.pairs) == len(texts)


def test_a_file_without_a_text_is_refused(tmp_path):
    (tmp_path / "texts.txt").touch()
    with pytest.raises(UserError, match="name texts"):
        read_texts([], tmp_path / "texts.txt", False)
    with pytest.raises(UserError, match="cannot be read .Is a directory"):
        read_texts([], tmp_path, False)


def test_an_odd_number_of_texts_makes_no_pairs():
    with pytest.raises(UserError, match="3 of them make no pairs"):
        read_texts(["a", "b", "c"], None, True)
