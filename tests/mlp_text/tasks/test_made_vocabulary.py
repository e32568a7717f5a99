"""Vocabularies made of training text are kept, and made once."""

from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

import pytest

from mlp_core.errors import UserError
from mlp_text.tasks.config import TokenizerConfig
from mlp_text.tasks.made_vocabulary import made_vocabulary
from mlp_text.tokens.tokenizer import open_tokenizer
from tests.mlp_text.data.english import PARAGRAPHS

WANTED = TokenizerConfig(path=None, lowercase=None, kind="wordpiece", vocab_size=200)


class Text:
    """Paragraphs that count how often they are read to make a vocabulary."""

    def __init__(self, paragraphs=PARAGRAPHS):
        self.paragraphs, self.times_read = paragraphs, 0

    def training_texts(self):
        self.times_read += 1
        return iter(self.paragraphs)

    def text_identity(self):
        return self.paragraphs


def test_processes_that_want_the_same_vocabulary_make_it_once(tmp_path):
    text = Text()
    with ThreadPoolExecutor(4) as pool:  # A thread of its own opens the lock as a process does.
        files = set(pool.map(made_vocabulary, repeat(WANTED, 4), repeat(tmp_path), repeat(text)))
    assert len(files) == 1 and text.times_read == 1
    assert open_tokenizer(files.pop()).vocab_size == 200


def test_another_text_or_size_is_another_vocabulary(tmp_path):
    larger = TokenizerConfig(path=None, lowercase=None, kind="wordpiece", vocab_size=220)
    files = {
        made_vocabulary(WANTED, tmp_path, Text()),
        made_vocabulary(WANTED, tmp_path, Text(PARAGRAPHS[1:])),
        made_vocabulary(larger, tmp_path, Text()),
    }
    assert len(files) == 3


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "vocabularies").write_text("no folder")
    with pytest.raises(UserError, match="name another folder with --config.data.made_files_dir"):
        made_vocabulary(WANTED, tmp_path, Text())
