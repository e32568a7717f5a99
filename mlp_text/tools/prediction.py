"""What a model makes of text of the user's own: classes, or words for [MASK].

Shapes: B batch, S tokens, P masked places, V vocabulary, K classes.
"""

import codecs
import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mlp_core.errors import UserError
from mlp_core.nn.precision import check_finite_outputs, compute_dtype
from mlp_core.process.files import skip_line
from mlp_core.train.task import Params
from mlp_text.data.tables import LONGEST_LINE, tab_separated
from mlp_text.models.model_spec import TextModelSpec
from mlp_text.tokens.tokenizer import LONGEST_TEXT, Tokenizer

BATCH = 64  # Texts at a time.
LONGEST_SKIPPED_LINE = 1 << 30  # Bytes.
NOT_UTF8 = "not UTF-8"


class Texts(NamedTuple):
    """What is to be answered, a row for each line of input, whether or not it can be read."""

    texts: list[str]
    pairs: list[str] | None  # The second texts, for a model of pairs.
    problems: dict[int, str]  # Why a row cannot be answered, by its index.


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The likeliest answers to one question that a text asks, with their probabilities.

    A text in which several words are masked asks several questions, and has as many predictions.
    """

    text: str  # With its pair, if any, and the number of the place if several are filled in.
    best: list[tuple[str, float]]  # The likeliest first; empty if there is a problem.
    index: int = 0  # Of the text among those that were given.
    problem: str = ""  # Why there is no answer.
    is_cut: bool = False  # Whether the model reads only the beginning of the text.


def predict(
    spec: TextModelSpec,
    params: Params,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    pairs: Sequence[str] | None = None,
    top: int = 5,
    problems: Mapping[int, str] | None = None,
) -> list[Prediction]:
    """The `top` likeliest classes of each text, or words for each [MASK] in it, in order.

    A model of pairs needs as many second texts. Texts that are too long are cut as in training.
    A text without an answer, such as an empty one, has a prediction that gives the reason. Among
    the words are no special tokens.

    Args:
      spec: the model.
      params: its parameters.
      tokenizer: its tokenizer.
      texts: what it answers.
      pairs: the second texts.
      top: answers to each question at most.
      problems: why texts are known to have no answer, by their index.

    Raises:
        UserError: the model answers nothing, or does not read pairs, or nothing else.
    """
    _check_head(spec, pairs)
    columns = [texts] if pairs is None else [texts, pairs]
    rows = list(zip(*columns, strict=True))
    problems = dict(problems or {})
    lengths = _lengths(tokenizer, rows, problems)  # By index, of the rows without a problem.
    predictions = [
        Prediction(" | ".join(rows[i]), [], i, problem) for i, problem in problems.items()
    ]
    if lengths:
        questions = [
            Prediction(" | ".join(rows[i]), [], i, is_cut=length > spec.max_length)
            for i, length in lengths.items()
        ]
        # Only a BERT gives the same answers with fewer pads.
        is_bert = spec.encoder.architecture == "bert"
        max_length = min(max(lengths.values()), spec.max_length) if is_bert else spec.max_length
        usable = [[column[i] for i in lengths] for column in columns]
        tokens = tokenizer.encode(*usable, max_length=max_length)
        if spec.head == "masked_lm":
            predictions += _fill_in(spec, params, tokenizer, questions, tokens, top)
        else:
            predictions += _classify(spec, params, questions, tokens, top)
    return sorted(predictions, key=lambda prediction: prediction.index)


def read_texts(arguments: Sequence[str], file: Path | None, takes_pairs: bool) -> Texts:
    """The texts of a command line and those of a file behind them, and the second texts of pairs.

    Args:
      arguments: a text each; of pairs the second behind the first.
      file: a text a line, or a pair with a tab between them. A line that is no such text keeps its
        row, with its problem.
      takes_pairs: whether the model reads pairs; the second texts are None where it does not.

    Raises:
        UserError: there is no text, the file cannot be read, or arguments do not make pairs.
    """
    size = 2 if takes_pairs else 1
    if len(arguments) % size:
        raise UserError(
            f"this model reads pairs of texts, and {len(arguments)} of them make no pairs; name "
            "two for each answer."
        )
    rows = [arguments[i : i + size] for i in range(0, len(arguments), size)]
    problems = {}
    for row, problem in _rows_of(file, size) if file is not None else ():
        if problem:
            problems[len(rows)] = problem
        rows.append(row)
    if not rows:
        raise UserError("name texts, each in quotes, or a file of them with --input.")
    texts, *pairs = (list(column) for column in zip(*rows, strict=True))
    return Texts(texts, pairs[0] if takes_pairs else None, problems)


def as_records(
    texts: Texts, predictions: Sequence[Prediction], fills_in: bool
) -> Iterator[dict[str, Any]]:
    """What `predict` has found as a JSON object for each text, in the order of the texts.

    `answers` is None if there is a `problem`, else a list of answers with their probabilities, or a
    list of such lists, one for each [MASK], if the model `fills_in`.
    """
    for index, group in itertools.groupby(predictions, lambda prediction: prediction.index):
        group = list(group)
        answers = [
            [{"answer": name, "probability": share} for name, share in prediction.best]
            for prediction in group
        ]
        problem = group[0].problem or None
        yield {
            "number": index + 1,
            "text": texts.texts[index],
            **({} if texts.pairs is None else {"pair": texts.pairs[index]}),
            "answers": None if problem else answers if fills_in else answers[0],
            "problem": problem,
            "cut": group[0].is_cut,
        }


def _rows_of(file: Path, size: int) -> Iterator[tuple[list[str], str]]:
    """The `size` texts of each line, and what is wrong with it.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(iter(lambda: lines.readline(LONGEST_LINE), b"")):
                if not line.endswith(b"\n") and lines.peek(1):
                    try:
                        skip_line(lines, LONGEST_SKIPPED_LINE)
                    except ValueError as error:
                        raise UserError(
                            f"{file}: line {number + 1} {error}; name a text."
                        ) from error
                    yield [""] * size, f"longer than {LONGEST_LINE >> 20} MiB"
                    continue
                line = line.removeprefix(codecs.BOM_UTF8) if number == 0 else line
                yield _row_of(line, size)
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}).") from error


def _row_of(line: bytes, size: int) -> tuple[list[str], str]:
    try:
        texts = tab_separated(line.decode())
    except UnicodeDecodeError as error:
        texts = tab_separated(line.decode(errors="replace"))
        return _padded(texts, size), f"{NOT_UTF8} (byte {error.start} of the line)"
    if len(texts) == size or not any(texts):
        return _padded(texts, size), ""
    return _padded(texts, size), f"{len(texts)} tab-separated text(s); this model reads {size}"


def _padded(texts: list[str], size: int) -> list[str]:
    """As `size` texts, the last of which has what is too many."""
    texts = [*texts[: size - 1], "\t".join(texts[size - 1 :])]
    return texts + [""] * (size - len(texts))


def _check_head(spec: TextModelSpec, pairs: Sequence[str] | None) -> None:
    if spec.head == "none":
        raise UserError(
            "these weights have no head that answers; they are for a training to start from."
        )
    if spec.takes_pairs != (pairs is not None):
        kind = "pairs of texts" if spec.takes_pairs else "single texts"
        raise UserError(f"this model reads {kind}.")


def _lengths(
    tokenizer: Tokenizer, rows: Sequence[tuple[str, ...]], problems: dict[int, str]
) -> dict[int, int]:
    """The tokens of each text or pair, [CLS] and [SEP] included; adds to `problems`."""
    lengths = {}
    for i, row in enumerate(rows):
        if i in problems:
            continue
        try:
            lengths[i] = _length(tokenizer, row)
        except ValueError as error:
            problems[i] = str(error)
    return lengths


def _length(tokenizer: Tokenizer, row: Sequence[str]) -> int:
    """The tokens of a text or pair; ValueError says in words why it has no answer."""
    if "\0" in "".join(row):
        raise ValueError("a zero byte in it")
    try:
        "".join(row).encode()
    except UnicodeEncodeError:  # An argument of a command, or half a character.
        raise ValueError(NOT_UTF8) from None
    ids = tokenizer.ids([text[:LONGEST_TEXT] for text in row])
    is_empty = [not text.strip() or not tokens for text, tokens in zip(row, ids, strict=True)]
    if any(is_empty):  # Of characters that no vocabulary looks at, for one.
        raise ValueError("empty" if all(is_empty) else "one of its texts is empty")
    return sum(map(len, ids)) + len(ids) + 1


def _classify(
    spec: TextModelSpec,
    params: Params,
    questions: Sequence[Prediction],
    tokens: Mapping[str, np.ndarray],
    top: int,
) -> list[Prediction]:
    model = spec.create_model(compute_dtype("auto"))

    @jax.jit
    def likeliest(params, input_ids, attention_mask, token_type_ids):
        logits = model.apply({"params": params}, input_ids, attention_mask, token_type_ids)
        return jax.lax.top_k(jax.nn.softmax(logits), min(top, spec.num_classes))

    shares, classes = _in_batches(likeliest, params, tokens)
    names = np.asarray(spec.class_names)[classes]
    return [
        dataclasses.replace(question, best=list(zip(*best, strict=True)))
        for question, *best in zip(questions, names.tolist(), shares.tolist(), strict=True)
    ]


def _fill_in(
    spec: TextModelSpec,
    params: Params,
    tokenizer: Tokenizer,
    questions: Sequence[Prediction],
    tokens: Mapping[str, np.ndarray],
    top: int,
) -> list[Prediction]:
    (mask,) = tokenizer.tokens([tokenizer.mask_id])  # As this vocabulary calls it.
    places = [np.flatnonzero(row == tokenizer.mask_id) for row in tokens["input_ids"]]
    positions = np.zeros((len(places), max([1, *map(len, places)])), np.int32)
    for row, here in zip(positions, places, strict=True):
        row[: len(here)] = here
    model = spec.create_model(compute_dtype("auto"))
    no_words = np.asarray(tokenizer.special_ids)
    num_words = spec.encoder.vocab_size - len(no_words)

    @jax.jit
    def likeliest(params, input_ids, attention_mask, token_type_ids, positions):
        logits = model.apply(
            {"params": params}, input_ids, attention_mask, token_type_ids, positions=positions
        )  # [B, P, V]
        logits = logits.at[:, :, no_words].set(-jnp.inf)
        return jax.lax.top_k(jax.nn.softmax(logits), min(top, num_words))

    shares, ids = _in_batches(likeliest, params, {**tokens, "positions": positions})
    predictions = []
    for i, (question, here) in enumerate(zip(questions, places, strict=True)):
        if not len(here):
            problem = f"no {mask}, which this model would fill in"
            problem += f", in its first {spec.max_length:,} tokens" if question.is_cut else ""
            predictions.append(dataclasses.replace(question, problem=problem))
        for k in range(len(here)):
            number = f"  ({mask} {k + 1} of {len(here)})" if len(here) > 1 else ""
            words = tokenizer.tokens(ids[i, k].tolist())
            best = list(zip(words, shares[i, k].tolist(), strict=True))
            predictions.append(
                dataclasses.replace(question, text=question.text + number, best=best)
            )
    return predictions


def _in_batches(
    step: Callable, params: Params, arrays: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, ...]:
    """The results of `step` for all rows, gone through in batches of one size."""
    rows = len(next(iter(arrays.values())))
    size, results = min(BATCH, rows), []
    params = jax.device_put(params)
    for first in range(0, rows, size):
        index = np.arange(first, first + size).clip(max=rows - 1)  # The last row fills up.
        results.append(jax.device_get(step(params, **{n: a[index] for n, a in arrays.items()})))
        check_finite_outputs(results[-1])
    return tuple(np.concatenate(parts)[:rows] for parts in zip(*results, strict=True))
