"""Loads weights into text models: kept, adapted and new parameters."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mlp_core.errors import UserError
from mlp_core.nn.parameters import flatten, unflatten
from mlp_core.nn.spatial_gating import fit_spatial, toeplitz_matrix
from mlp_core.process.console import say
from mlp_text.models.model_spec import (
    EncoderSpec,
    GmlpEncoderSpec,
    TextModelSpec,
    expected_params,
    fields_of,
)
from mlp_text.weights.bert import is_padded
from mlp_text.weights.loading import TextWeights, locate_text_weights, open_text_weights

SPATIAL = "gating/spatial"
# BERT tables that may be cut to their first rows: positions, and padded words.
FIRST_ROWS = ("position_embeddings/embedding", "word_embeddings/embedding", "head/bias")
SEGMENTS = "token_type_embeddings/embedding"
# Fields in which a model may differ from its initial weights.
ADAPTABLE = {"segments", "mask_pads", "gelu", "layer_norm_epsilon", "gate_layer_norm_epsilon"}


def load_pretrained(
    source: str | Path,
    *,
    head: Literal["auto", "none", "masked_lm", "classification"] = "auto",
    dtype: Any = jnp.float32,
) -> tuple[nn.Module, dict[str, Any]]:
    """Loads a text model with published or trained weights.

    `model.apply({"params": params}, input_ids, attention_mask, token_type_ids)` returns, for a
    BERT and for a masked-LM run, the last hidden state [B, S, C]; for a classifier logits [B, K].

    Args:
      source: a BERT's safetensors file or directory, "hf://OWNER/NAME", or a run directory.
      head: "none" for the hidden state, "masked_lm" for vocabulary logits [B, S, V],
        "classification" for class logits; "auto": that of a classifier, else "none".
      dtype: computation dtype; parameters are float32.

    Raises:
        UserError: the weights are unavailable or corrupt, or lack the head.
    """
    weights = open_text_weights(locate_text_weights(str(source)))
    there = weights.spec.head
    if head == "auto":
        head = "classification" if there == "classification" else "none"
    if head not in ("none", there):
        raise UserError(f"{weights.path}: has no head for {head}; it has {there}.")
    spec = dataclasses.replace(weights.spec, head=head)
    return spec.create_model(dtype), load_params(weights, spec)


def load_params(weights: TextWeights, spec: TextModelSpec, seed: int = 0) -> dict[str, Any]:
    """Returns parameters of the model that `spec` describes, as float32 numpy arrays.

    Parameters absent from the weights are initialized randomly from `seed`. Prints a summary line.

    Raises:
        UserError: the weights do not fit (see `check_fit`), or the arrays cannot be read.
    """
    check_fit(str(weights.path), weights.spec, spec)
    model = spec.create_model()
    expected = expected_params(model, spec)
    there = _under_our_names(weights, spec, weights.read())
    arrays = {name: array for name, array in there.items() if name in expected}
    arrays |= _fitted_spatial(arrays, spec.max_length, expected)
    arrays |= {n: a[: expected[n].shape[0]] for n, a in arrays.items() if n.endswith(FIRST_ROWS)}
    new = [name for name in expected if name not in arrays]
    arrays |= _random(model, spec, new, seed)
    arrays |= {n: np.zeros_like(arrays[n]) for n in new if n.endswith(SEGMENTS)}
    assumed = "".join(f", assuming {name}={value}" for name, value in weights.assumed.items())
    what_is_new = _what_is_new(new, weights.spec, spec)
    say(f"Weights: {weights.path}{assumed} ({weights.origin}){what_is_new}")
    return unflatten({name: arrays[name] for name in expected})


def check_fit(source: str, start: TextModelSpec, wanted: TextModelSpec) -> None:
    """Rejects weights that cannot be adapted to the model.

    Raises:
        UserError: they do not fit; names `source` and the fields to set.
    """
    there, encoder = start.encoder, wanted.encoder
    if there.architecture == "bert":
        encoder = wanted.bert_below or encoder
    rows, entries = there.vocab_size, encoder.vocab_size
    if rows != entries and not is_padded(rows, entries):
        raise UserError(
            f"{source}: the vocabulary does not match; the weights have {rows:,} "
            f"tokens, the tokenizer has {entries:,}. Leave config.tokenizer.path unset "
            "for the tokenizer of the weights, or name theirs."
        )
    if fields := differences(dataclasses.replace(there, vocab_size=entries), encoder):
        raise UserError(
            f"{source}: does not fit the model; it needs a model with {', '.join(fields)}."
        )


def differences(start: EncoderSpec, wanted: EncoderSpec) -> list[str]:
    """Returns the fields in which weights of `start` do not fit `wanted`, as "hidden_dim=512".

    Both have the same architecture. A Toeplitz vector can be lengthened, shortened or expanded to a
    full matrix, a full matrix shortened; BERT positions are dropped; segments may be new.
    """
    theirs, ours = fields_of(start), fields_of(wanted)
    adaptable = ADAPTABLE | {"bert"}
    is_toeplitz = theirs.get("spatial_matrix") == "toeplitz"
    if is_toeplitz:
        adaptable |= {"spatial_matrix"}
    if is_toeplitz or ours["max_length"] < theirs["max_length"]:
        adaptable |= {"max_length"}
    differing = [
        f"{name}={theirs[name]}"
        for name in ours
        if name not in adaptable and ours[name] != theirs[name]
    ]
    if theirs.get("bert") != ours.get("bert"):
        differing.append("the same BERT below" if theirs["bert"] else "no BERT below")
    return differing


def _under_our_names(
    weights: TextWeights, spec: TextModelSpec, arrays: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Returns the arrays by name in the model that `spec` describes, with heads that fit."""
    is_bert = weights.spec.encoder.architecture == "bert"
    ours = {name: array for name, array in arrays.items() if name.startswith("encoder/")}
    if is_bert and spec.bert_below:
        ours = {name.replace("encoder/", "encoder/bert/", 1): a for name, a in ours.items()}
    elif _keeps_head(weights.spec, spec):
        ours = dict(arrays)
    elif spec.head == "classification":  # The pooler of a published BERT belongs to a classifier.
        ours |= {f"head/{n}": a for n, a in arrays.items() if n.startswith("pooler/")}
    if spec.head == "none":
        return {name.removeprefix("encoder/"): array for name, array in ours.items()}
    return ours


def _keeps_head(start: TextModelSpec, wanted: TextModelSpec) -> bool:
    """Returns whether the weights have the model's head."""
    same = ("head", "pooling", "num_classes", "class_names")
    return all(getattr(start, field) == getattr(wanted, field) for field in same)


def _fitted_spatial(
    arrays: Mapping[str, np.ndarray], max_length: int, expected: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Resizes spatial projections, or expands Toeplitz vectors to full matrices."""
    fitted = {}
    for name in [name for name in arrays if name.endswith(f"{SPATIAL}/kernel")]:
        bias_name = name.replace("kernel", "bias")
        kernel, bias = fit_spatial(arrays[name], arrays[bias_name], max_length)
        if kernel.ndim < len(expected[name].shape):
            kernel = toeplitz_matrix(kernel)
        fitted |= {name: np.asarray(kernel), bias_name: np.asarray(bias)}
    return fitted


def _random(
    model: nn.Module, spec: TextModelSpec, names: list[str], seed: int
) -> dict[str, np.ndarray]:
    """Returns initial values of the named parameters without computing the others."""

    def draw(rng):
        params = flatten(model.init(rng, jnp.zeros((1, spec.max_length), jnp.int32))["params"])
        return {name: params[name] for name in names}

    return jax.device_get(jax.jit(draw)(jax.random.key(seed))) if names else {}


def _what_is_new(new: list[str], start: TextModelSpec, wanted: TextModelSpec) -> str:
    """Describes which parameters are new and how the weights were changed."""
    parts = []
    there, encoder = start.encoder, wanted.encoder
    if isinstance(there, GmlpEncoderSpec) and isinstance(encoder, GmlpEncoderSpec):
        if there.max_length != encoder.max_length:
            parts.append(f"made for {encoder.max_length} tokens of {there.max_length}")
        if there.spatial_matrix != encoder.spatial_matrix:
            parts.append("Toeplitz matrices made full")
    elif isinstance(encoder, GmlpEncoderSpec):
        parts.append(f"the states of which ({encoder.bert_features}) feed a new gMLP")
    below = wanted.bert_below or encoder
    if padded := there.vocab_size - below.vocab_size:
        parts.append(f"without the {padded} padded rows of its table")
    if any(name.endswith(SEGMENTS) for name in new):
        parts.append("a new embedding of segments")
    if any(name.startswith("head/") for name in new):
        kind = f"of {wanted.num_classes} classes" if wanted.head == "classification" else "of words"
        parts.append(f"a new head {kind}")
    return "".join(f", {part}" for part in parts)
