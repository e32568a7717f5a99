"""Vocabularies trained on the training text and cached for later runs."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from mlp_core.errors import UserError
from mlp_core.process.files import one_at_a_time, write_whole
from mlp_core.process.user_paths import cache_dir, user_path
from mlp_text.tasks.config import TokenizerConfig
from mlp_text.tokens.tokenizer import Tokenizer
from mlp_text.tokens.vocabulary import train_vocabulary


class TrainingText(Protocol):
    """Text to train a vocabulary on."""

    def training_texts(self) -> Iterator[str]:
        """Yields the texts."""

    def text_identity(self) -> Iterable[str]:
        """Yields strings that identify the text."""


def made_files_dir(configured: str | None) -> Path:
    """Returns the directory for vocabularies and token blocks: as configured, or the cache."""
    return user_path(configured, "config.data.made_files_dir=") if configured else cache_dir()


def vocabulary_file(wanted: TokenizerConfig, folder: Path, text: TrainingText) -> Path:
    """Returns the vocabulary file of this text, which need not exist yet.

    Args:
      wanted: kind and size.
      folder: parent directory of `vocabularies/`.
      text: the training text.
    """
    settings = json.dumps([dataclasses.asdict(wanted), fingerprint(text)])
    digest = hashlib.sha256(settings.encode()).hexdigest()[:16]
    return folder / "vocabularies" / f"{wanted.kind}-{wanted.vocab_size}-{digest}.json"


def fingerprint(text: TrainingText) -> str:
    """Returns a short fingerprint of a text."""
    return hashlib.sha256(json.dumps([*text.text_identity()]).encode()).hexdigest()


def made_vocabulary(wanted: TokenizerConfig, folder: Path, text: TrainingText) -> Path:
    """Returns the vocabulary file of this text, training it if needed; see `vocabulary_file`.

    Raises:
        UserError: there is no text, or the file cannot be written.
    """
    file = vocabulary_file(wanted, folder, text)
    try:
        if not file.is_file():
            with one_at_a_time(file.with_name(f".{file.name}.lock"), f"makes {file}"):
                if not file.is_file():  # Another process may have written it.
                    write_whole(file, _trained(wanted, text).to_json())
    except OSError as error:
        raise UserError(
            f"{file}: cannot be written ({error.strerror}); name another folder with "
            "--config.data.made_files_dir."
        ) from error
    return file


def _trained(wanted: TokenizerConfig, text: TrainingText) -> Tokenizer:
    lowercase = wanted.lowercase is not False
    return train_vocabulary(text.training_texts(), wanted.kind, wanted.vocab_size, lowercase)
