"""Locates and opens weights of text models: published BERTs and checkpoints of runs."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlp_core.checkpoints.saved_runs import open_saved_run
from mlp_core.errors import UserError
from mlp_core.nn.parameters import check_shapes
from mlp_core.run_folder.run_directory import RunFiles, has_checkpoint
from mlp_core.weights.sources import (
    CONFIG_FILE,
    HUGGING_FACE,
    WEIGHTS_FILE,
    fetch_from_hub,
    fetch_weight_file,
    path_on_this_machine,
)
from mlp_text.models.model_spec import BertEncoderSpec, TextModelSpec, expected_params, read_spec
from mlp_text.tokens.tokenizer import TOKENIZER_FILE, Tokenizer, open_tokenizer
from mlp_text.tokens.wordpiece import CASING_FILE, VOCABULARY_FILE
from mlp_text.weights.bert import has_other_formats, is_padded, open_bert

VOCABULARIES = (VOCABULARY_FILE, TOKENIZER_FILE, "spiece.model")  # Next to published weights.
TASKS = ("text_classification", "masked_lm")  # Tasks of runs.


@dataclasses.dataclass(frozen=True)
class TextWeights:
    """Weights whose arrays have not been read yet."""

    path: Path
    origin: str  # Description, such as "published BERT".
    spec: TextModelSpec
    check: Callable[[], object]  # Reads everything; raises UserError if corrupt.
    read: Callable[[], dict[str, np.ndarray]]  # Float32, by Flax name.
    tokenizer: Callable[[], Tokenizer]  # Raises UserError if none fits.
    assumed: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # See `BertWeights`.


def locate_text_weights(source: str) -> Path:
    """Returns the local path of weights, downloading them if needed.

    Args:
      source: "hf://OWNER/NAME", a BERT on the Hugging Face hub; the URL of its safetensors file,
        next to its other files; its local file or directory; or the directory of a run.

    Raises:
        UserError: it is none of these, or cannot be downloaded.
    """
    if source.startswith(HUGGING_FACE):
        return fetch_from_hub(source, [WEIGHTS_FILE, CONFIG_FILE], [CASING_FILE], VOCABULARIES)
    if "://" in source:
        return fetch_weight_file(source, [CONFIG_FILE, CASING_FILE], VOCABULARIES)
    if path := path_on_this_machine(source):
        return path
    raise UserError(
        f"weights: {source!r} is neither the folder of a run, which must be trained first, nor a "
        f"BERT's file or folder, {HUGGING_FACE}OWNER/NAME or a URL."
    )


def weights_before_fetching(source: str) -> "TextWeights | None":
    """Returns weights if they are on this machine; None if they must be downloaded.

    Raises:
        UserError: see `open_text_weights`.
    """
    return None if "://" in source else open_text_weights(locate_text_weights(source))


def open_text_weights(path: Path) -> TextWeights:
    """Opens weights, detecting their kind; reads only names, shapes and metadata.

    Args:
      path: a BERT's safetensors file or directory; the directory of a run (its latest checkpoint)
        or of one of its checkpoints.

    Raises:
        UserError: there are no weights of a text model, or they are incomplete.
    """
    path = path.resolve() if path.is_dir() else path  # Links to checkpoints are allowed.
    is_bert = path.is_file() or (path / WEIGHTS_FILE).is_file() or has_other_formats(path)
    weights = _open_bert(path) if is_bert and not has_checkpoint(path) else _open_run(path)
    return dataclasses.replace(weights, tokenizer=lambda: _matching_tokenizer(weights))


def spec_for(weights: TextWeights, tokenizer: Tokenizer) -> TextModelSpec:
    """Returns the specification of `weights` without padding rows, which no token uses."""
    if tokenizer.vocab_size == weights.spec.encoder.vocab_size:
        return weights.spec
    encoder = dataclasses.replace(weights.spec.encoder, vocab_size=tokenizer.vocab_size)
    return dataclasses.replace(weights.spec, encoder=encoder)


def _open_run(path: Path) -> TextWeights:
    run = open_saved_run(path, TASKS)
    spec = read_spec(RunFiles.of(run.workdir).model)
    expected = expected_params(spec.create_model(), spec)
    check_shapes(run.checkpoint, run.params.shapes, expected, "this text model")
    return TextWeights(
        run.checkpoint,
        run.origin,
        spec,
        check=run.params.read,
        read=run.params.read,
        tokenizer=lambda: open_tokenizer(run.workdir / TOKENIZER_FILE),
    )


def _open_bert(path: Path) -> TextWeights:
    bert = open_bert(path)
    head = "masked_lm" if bert.has_masked_lm_head else "none"
    spec = TextModelSpec(encoder=BertEncoderSpec(**bert.settings), head=head)
    return TextWeights(
        bert.path,
        "published BERT",
        spec,
        check=bert.read,
        read=bert.read,
        tokenizer=lambda: _tokenizer_beside(bert.path),
        assumed=bert.assumed,
    )


def _matching_tokenizer(weights: TextWeights) -> Tokenizer:
    tokenizer, vocab_size = weights.tokenizer(), weights.spec.encoder.vocab_size
    if vocab_size != tokenizer.vocab_size and not is_padded(vocab_size, tokenizer.vocab_size):
        raise UserError(
            f"{weights.path}: the vocabulary beside these weights has {tokenizer.vocab_size:,} "
            f"tokens, the weights have {vocab_size:,}; put theirs there."
        )
    return tokenizer


def _tokenizer_beside(path: Path) -> Tokenizer:
    try:
        return open_tokenizer(path.parent)
    except UserError as error:
        raise UserError(
            f"{error} The vocabulary of these weights is needed, vocab.txt say; put it there. "
            "(A training may name it with --config.tokenizer.path.)"
        ) from error
