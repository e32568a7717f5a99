"""Text to token ids."""

from pathlib import Path

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers


class Tokenizer:
    """A `tokenizers.Tokenizer` whose special tokens are known."""

    def __init__(self, tokenizer: tokenizers.Tokenizer):
        """Wraps it."""
        self._tokenizer = tokenizer

    @classmethod
    def from_json(cls, text: str) -> "Tokenizer":
        """What `to_json` gave."""
        return cls(tokenizers.Tokenizer.from_str(text))

    def to_json(self) -> str:
        """All there is to it."""
        return self._tokenizer.to_str()

    @property
    def vocab_size(self) -> int:
        """How many tokens there are."""
        return self._tokenizer.get_vocab_size()

    @property
    def pad_id(self) -> int:
        """Of [PAD]."""
        return self._tokenizer.token_to_id("[PAD]")

    @property
    def cls_id(self) -> int:
        """Of [CLS]."""
        return self._tokenizer.token_to_id("[CLS]")

    @property
    def sep_id(self) -> int:
        """Of [SEP]."""
        return self._tokenizer.token_to_id("[SEP]")

    def ids(self, texts: list[str]) -> list[list[int]]:
        """The tokens of each text."""
        encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]


def open_tokenizer(path: Path) -> Tokenizer:
    """From a vocab.txt."""
    tokenizer = tokenizers.Tokenizer(models.WordPiece.from_file(str(path), unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]"])
    return Tokenizer(tokenizer)
