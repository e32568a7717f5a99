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
from mlp_core.precision import compute_dtype
from mlp_core.task import Params
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
    top: int,
) -> list[Prediction]:
    """The `top` likeliest classes of each text, or tokens for each [MASK] in it, in order.

    A model of pairs takes the texts in twos.

    Raises:
        UserError: the texts do not go with the model, or are too long for it.
    """
    if spec.head == "none":
        raise UserError("these weights have no head; they can be fine-tuned, not asked.")
    for text in texts:
        if not text.strip():
            raise UserError("one of the texts is empty; leave it out.")
    firsts, seconds = texts, None
    if spec.takes_pairs:
        if len(texts) % 2:
            raise UserError(
                f"this model reads pairs of texts, and {len(texts)} texts are no pairs; name two "
                "for each answer."
            )
        firsts, seconds = texts[::2], texts[1::2]
    _check_lengths(spec, tokenizer, firsts, seconds)
    tokens = tokenizer.encode(firsts, seconds, spec.max_length)
    if spec.head == "masked_lm":
        return _fill_in(spec, params, tokenizer, firsts, tokens, top)
    names = [" | ".join(pair) for pair in zip(firsts, seconds, strict=True)] if seconds else firsts
    return _classify(spec, params, names, tokens, top)


def read_texts(names: Sequence[str], file: Path | None) -> list[str]:
    """The texts on the command line, then those of a file, one a line, a tab between pairs.

    Raises:
        UserError: there is none, or the file cannot be read as text.
    """
    texts = list(names)
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise UserError(f"{file}: this is no UTF-8 text ({error.reason}).") from error
        except OSError as error:
            raise UserError(f"{file}: cannot be read ({error.strerror}).") from error
        texts += [text for line in lines if line.strip() for text in line.split("\t")]
    if not texts:
        raise UserError("name texts, in quotes, or a file of them with --input.")
    return texts


def _check_lengths(
    spec: TextModelSpec, tokenizer: Tokenizer, texts: Sequence[str], pairs: Sequence[str] | None
) -> None:
    ids = tokenizer.ids(list(texts))
    seconds = tokenizer.ids(list(pairs)) if pairs else [[] for _ in ids]
    specials = 3 if pairs else 2
    for text, one, other in zip(texts, ids, seconds, strict=True):
        length = len(one) + len(other) + specials
        if length > spec.max_length:
            raise UserError(
                f"{_shortened(text)}: {length} tokens are more than the {spec.max_length} that the "
                "model reads; shorten the text."
            )


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
    places = [np.flatnonzero(row == tokenizer.mask_id) for row in tokens["input_ids"]]
    for text, here in zip(texts, places, strict=True):
        if not len(here):
            raise UserError(f"{_shortened(text)}: there is no [MASK] in it to fill in.")
    positions = np.zeros((len(texts), max(map(len, places))), np.int32)
    for row, here in zip(positions, places, strict=True):
        row[: len(here)] = here
    model = spec.create_model(compute_dtype("auto"))

    @jax.jit
    def likeliest(params, input_ids, attention_mask, token_type_ids, positions):
        logits = model.apply(
            {"params": params}, input_ids, attention_mask, token_type_ids, positions=positions
        )  # [B, P, V]
        no_words = jnp.asarray(tokenizer.special_ids)
        logits = logits.at[:, :, no_words].set(-jnp.inf)
        return jax.lax.top_k(jax.nn.softmax(logits), top)

    shares, ids = _in_batches(likeliest, params, {**tokens, "positions": positions})
    predictions = []
    for i, (text, here) in enumerate(zip(texts, places, strict=True)):
        for k in range(len(here)):
            named = text if len(here) == 1 else f"{text}  ([MASK] {k + 1} of {len(here)})"
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
    return tuple(np.concatenate(parts)[:rows] for parts in zip(*results, strict=True))


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
