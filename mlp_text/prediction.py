"""What a model makes of text of the user's own: classes, or words for [MASK].

Shapes: B batch, S tokens, P masked places, V vocabulary, K classes.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from mlp_core.errors import UserError
from mlp_core.precision import check_finite_outputs, compute_dtype
from mlp_core.task import Params
from mlp_text.datasets.tables import decoded_lines, tab_separated
from mlp_text.model_spec import TextModelSpec
from mlp_text.tokenizer import Tokenizer

BATCH = 64  # Texts at a time.


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The likeliest answers to one question that a text asks, with their probabilities."""

    text: str  # With its pair, if any, and where places are filled in the place's number.
    best: list[tuple[str, float]]  # The likeliest first.


def predict(
    spec: TextModelSpec,
    params: Params,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    pairs: Sequence[str] | None = None,
    top: int = 5,
) -> list[Prediction]:
    """The `top` likeliest classes of each text, or words for each [MASK] in it, in order.

    A model of pairs needs as many second texts. Among the words are no special tokens.

    Raises:
        UserError: the texts do not go with the model, or one is empty or too long for it.
    """
    _check_head(spec, pairs)
    longest = _check_texts(spec, tokenizer, texts, pairs)
    # Only a BERT is none the wiser for pads.
    length = longest if spec.encoder.architecture == "bert" else spec.max_length
    tokens = tokenizer.encode(texts, pairs, length)
    if spec.head == "masked_lm":
        return _fill_in(spec, params, tokenizer, texts, tokens, top)
    both = texts if pairs is None else [" | ".join(pair) for pair in zip(texts, pairs, strict=True)]
    return _classify(spec, params, both, tokens, top)


def read_texts(
    arguments: Sequence[str], file: Path | None, takes_pairs: bool
) -> tuple[list[str], list[str] | None]:
    """The texts of a command line and those of a file behind them, and the second texts of pairs.

    Args:
      arguments: a text each; of pairs the second behind the first.
      file: a text a line, or a pair with a tab between them.
      takes_pairs: whether the model reads pairs; the second texts are None where it does not.

    Raises:
        UserError: there is none, the file cannot be read, or texts are not by themselves or in
          pairs as the model takes them.
    """
    size = 2 if takes_pairs else 1
    if len(arguments) % size:
        raise UserError(
            f"this model reads pairs of texts, and {len(arguments)} of them make no pairs; name "
            "two for each answer."
        )
    rows = [arguments[i : i + size] for i in range(0, len(arguments), size)]
    rows += _rows_of(file, size) if file is not None else []
    if not rows:
        raise UserError("name texts, each in quotes, or a file of them with --input.")
    texts, *pairs = (list(column) for column in zip(*rows, strict=True))
    return texts, pairs[0] if takes_pairs else None


def _rows_of(file: Path, size: int) -> list[list[str]]:
    """The `size` texts of each line.

    Raises:
        UserError: names the line that has not as many, or is not UTF-8.
    """
    rows = []
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(decoded_lines(lines, file), 1):
                texts = tab_separated(line)
                if len(texts) != size:
                    raise UserError(
                        f"{file}: line {number} has {len(texts)} texts, between which are tabs; "
                        f"this model reads {'two' if size == 2 else 'one'} from a line."
                    )
                if not all(text.strip() for text in texts):
                    raise UserError(f"{file}: line {number} has an empty text; take it out.")
                rows.append(texts)
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}).") from error
    return rows


def _check_head(spec: TextModelSpec, pairs: Sequence[str] | None) -> None:
    if spec.head == "none":
        raise UserError(
            "these weights have no head that answers; they are for a training to start from."
        )
    if spec.takes_pairs != (pairs is not None):
        kind = "pairs of texts" if spec.takes_pairs else "single texts"
        raise UserError(f"this model reads {kind}.")


def _check_texts(
    spec: TextModelSpec, tokenizer: Tokenizer, texts: Sequence[str], pairs: Sequence[str] | None
) -> int:
    """The tokens of the longest text, or pair, with [CLS] and [SEP].

    Raises:
        UserError: one is empty, or longer than the model's.
    """
    columns = [texts] if pairs is None else [texts, pairs]
    if not all(text.strip() for column in columns for text in column):
        raise UserError("a text is empty; leave it out.")
    ids = [tokenizer.ids(column) for column in columns]
    lengths = [sum(map(len, row)) + len(row) + 1 for row in zip(*ids, strict=True)]
    for text, length in zip(texts, lengths, strict=True):
        if length > spec.max_length:
            raise UserError(
                f"{_shortened(text)}: {length:,} tokens, [CLS] and [SEP] included, are more than "
                f"the {spec.max_length:,} that the model reads; shorten it."
            )
    return max(lengths)


def _classify(
    spec: TextModelSpec,
    params: Params,
    texts: Sequence[str],
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
        Prediction(text, list(zip(*best, strict=True)))
        for text, *best in zip(texts, names.tolist(), shares.tolist(), strict=True)
    ]


def _fill_in(
    spec: TextModelSpec,
    params: Params,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    tokens: Mapping[str, np.ndarray],
    top: int,
) -> list[Prediction]:
    (mask,) = tokenizer.tokens([tokenizer.mask_id])  # As this vocabulary calls it.
    places = [np.flatnonzero(row == tokenizer.mask_id) for row in tokens["input_ids"]]
    for text, here in zip(texts, places, strict=True):
        if not len(here):
            raise UserError(
                f"{_shortened(text)}: there is no {mask} in it, which this model would fill in."
            )
    positions = np.zeros((len(texts), max(map(len, places))), np.int32)
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
    for i, (text, here) in enumerate(zip(texts, places, strict=True)):
        for k in range(len(here)):
            named = text if len(here) == 1 else f"{text}  ({mask} {k + 1} of {len(here)})"
            words = tokenizer.tokens(ids[i, k].tolist())
            best = list(zip(words, shares[i, k].tolist(), strict=True))
            predictions.append(Prediction(named, best))
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


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
