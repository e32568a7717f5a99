"""Weights of text models wherever they lie: published BERTs, and checkpoints of our own runs."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mlp_core.checkpoint import SavedParams
from mlp_core.errors import UserError
from mlp_core.run_directory import RunFiles, has_checkpoint, saved_steps
from mlp_text.bert_weights import open_bert
from mlp_text.model_spec import BertEncoderSpec, TextModelSpec, read_spec
from mlp_text.tokenizer import TOKENIZER_FILE, Tokenizer, open_tokenizer

HUGGING_FACE = "hf://"


@dataclasses.dataclass(frozen=True)
class TextWeights:
    """Weights whose arrays have not been read yet."""

    path: Path
    origin: str  # In words: "published BERT", say.
    spec: TextModelSpec
    check: Callable[[], object]  # Reads through; raises UserError where there is damage.
    read: Callable[[], dict[str, np.ndarray]]  # Float32, by our names.
    tokenizer: Callable[[], Tokenizer]  # Theirs; raises UserError where there is none that fits.


def open_text_weights(path: Path) -> TextWeights:
    """Recognises weights by their content; reads names, shapes and metadata only.

    Args:
      path: a BERT's safetensors file, or a folder with one in it; the folder of a run (its latest
        checkpoint) or of one checkpoint of it.

    Raises:
        UserError: there are no weights of a text model, or they are not whole.
    """
    path = path.resolve() if path.is_dir() else path  # A link to a checkpoint is one.
    is_run = path.is_dir() and (has_checkpoint(path) or path.name.isdigit())
    weights = _open_run(path) if is_run else _open_bert(path)
    return dataclasses.replace(weights, tokenizer=lambda: _matching_tokenizer(weights))


def locate_text_weights(source: str) -> Path:
    """The local path of weights, fetched first where need be."""
    return Path(source).expanduser()


def weights_before_fetching(source: str) -> TextWeights | None:
    """Weights that are on this machine; None where they must be fetched to be known."""
    return None if "://" in source else open_text_weights(locate_text_weights(source))


def _open_run(path: Path) -> TextWeights:
    workdir = path.parent.parent if path.name.isdigit() else path
    step = int(path.name) if path.name.isdigit() else saved_steps(path)[-1]
    files = RunFiles.of(workdir)
    saved = SavedParams(files.checkpoints / str(step))
    return TextWeights(
        files.checkpoints / str(step),
        f"run {workdir}, step {step:,}",
        read_spec(files.model),
        check=saved.read,
        read=saved.read,
        tokenizer=lambda: open_tokenizer(workdir / TOKENIZER_FILE),
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
    )


def _matching_tokenizer(weights: TextWeights) -> Tokenizer:
    tokenizer, vocab_size = weights.tokenizer(), weights.spec.encoder.vocab_size
    if tokenizer.vocab_size != vocab_size:
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
