"""Vocabularies made of training text, kept so that the next run finds them."""

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
    """Text that a vocabulary can be made of."""

    def training_texts(self) -> Iterator[str]:
        """The texts."""

    def text_identity(self) -> Iterable[str]:
        """Tells one text from another."""


def made_files_dir(configured: str | None) -> Path:
    """Where vocabularies and blocks of tokens are kept: as configured, or this project's cache."""
    return user_path(configured, "config.data.made_files_dir=") if configured else cache_dir()


def vocabulary_file(wanted: TokenizerConfig, folder: Path, text: TrainingText) -> Path:
    """Where the vocabulary of this text is kept, whether or not it has been made yet.

    Args:
      wanted: kind and size.
      folder: it is kept in `vocabularies/` there.
      text: what it is made of.
    """
    settings = json.dumps([dataclasses.asdict(wanted), fingerprint(text)])
    digest = hashlib.sha256(settings.encode()).hexdigest()[:16]
    return folder / "vocabularies" / f"{wanted.kind}-{wanted.vocab_size}-{digest}.json"


def fingerprint(text: TrainingText) -> str:
    """A short name of a text, which another has not."""
    return hashlib.sha256(json.dumps([*text.text_identity()]).encode()).hexdigest()


def made_vocabulary(wanted: TokenizerConfig, folder: Path, text: TrainingText) -> Path:
    """The file of a vocabulary of this text, made now unless it was before; see `vocabulary_file`.

    Raises:
        UserError: there is no text, or the file cannot be written.
    """
    file = vocabulary_file(wanted, folder, text)
    try:
        if not file.is_file():
            with one_at_a_time(file.with_name(f".{file.name}.lock"), f"makes {file}"):
                if not file.is_file():  # Another process may have been at it.
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
