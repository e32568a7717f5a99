"""Texts of the user's own: the right classes and words, and a sentence for what cannot be read."""

import dataclasses

import jax
import numpy as np
import pytest

import mlp_text
from mlp_core.errors import UserError
from mlp_text.datasets import synthetic
from mlp_text.prediction import BATCH, predict, read_texts
from mlp_text.pretrained import load_params
from mlp_text.weights import open_text_weights
from tests.mlp_text.golden_bert import changed_folder, golden_folder, with_vocabulary


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


def test_texts_that_the_model_cannot_answer_are_told(text_run, mlm_run, tmp_path):
    with pytest.raises(UserError, match="no \\[MASK\\] in it"):
        predict(*loaded(mlm_run), ["the word"])
    with pytest.raises(UserError, match="a text is empty"):
        predict(*loaded(text_run), ["bada", " "])
    with pytest.raises(UserError, match="'bada bada.*: 22 tokens, .* more than the 16 "):
        predict(*loaded(text_run), ["bada", " ".join(["bada"] * 20)])
    folder = changed_folder(
        tmp_path, lambda arrays: {n: a for n, a in arrays.items() if not n.startswith("cls.")}
    )
    with pytest.raises(UserError, match="no head that answers"):
        predict(*loaded(with_vocabulary(folder)), ["the [MASK]"])


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
    assert read_texts(["first", "second"], file, False) == (texts, None)
    file.write_text("c\td\r\ne\tf")
    assert read_texts(["a", "b"], file, True) == (["a", "c", "e"], ["b", "d", "f"])


MISTAKES = {
    "none": (b"", False, "name texts"),
    "Latin-1": (b"good\ncaf\xe9\n", False, "line 2 is not UTF-8"),
    "an empty line": (b"good\n\nbad\n", False, "line 2 has an empty text"),
    "a pair for a model of one": (b"good\none\ttwo\n", False, "line 2 has 2 texts.* reads one"),
    "half a pair": (b"one\ttwo\nhalf\n", True, "line 2 has 1 texts.* reads two"),
}


@pytest.mark.parametrize("content, takes_pairs, message", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_in_a_file_is_told_with_its_line(content, takes_pairs, message, tmp_path):
    file = tmp_path / "texts.txt"
    file.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_texts([], file, takes_pairs)


def test_an_odd_number_of_texts_makes_no_pairs():
    with pytest.raises(UserError, match="3 of them make no pairs"):
        read_texts(["a", "b", "c"], None, True)
