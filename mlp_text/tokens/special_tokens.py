"""The five special tokens that every model here needs, whatever a vocabulary calls them."""

import tokenizers
from tokenizers import AddedToken, processors

# In the order of the ids that vocabularies made here give them.
NAMES = {
    "pad": ("[PAD]", "<pad>"),
    "unk": ("[UNK]", "<unk>"),
    "cls": ("[CLS]", "<cls>", "<s>"),
    "sep": ("[SEP]", "<sep>", "</s>"),
    "mask": ("[MASK]", "<mask>"),
}
SPECIAL_TOKENS = tuple(names[0] for names in NAMES.values())  # As BERT calls them.


def find_special_tokens(backend: tokenizers.Tokenizer) -> dict[str, str]:
    """What the vocabulary calls `pad`, `unk`, `cls`, `sep` and `mask`, of those it has."""
    vocabulary = backend.get_vocab()
    found = {
        role: next((name for name in names if name in vocabulary), None)
        for role, names in NAMES.items()
    }
    return {role: name for role, name in found.items() if name is not None}


def complete_special_tokens(backend: tokenizers.Tokenizer) -> list[str]:
    """Appends the special tokens that the vocabulary lacks, and returns them.

    Afterwards all five are recognised in text, and the backend's own rule for what a model is fed
    is BERT's: `[CLS] a [SEP]`, `[CLS] a [SEP] b [SEP]`.
    """
    found = find_special_tokens(backend)
    appended = [names[0] for role, names in NAMES.items() if role not in found]
    known = {token.content for token in backend.get_added_tokens_decoder().values()}
    for role, names in NAMES.items():
        name = found.setdefault(role, names[0])
        if name not in known:
            # The space before a mask goes with it: what is filled in brings its own.
            token = AddedToken(name, special=True, normalized=False, lstrip=role == "mask")
            backend.add_special_tokens([token])
    cls, sep = found["cls"], found["sep"]
    backend.post_processor = processors.TemplateProcessing(
        single=[f"{cls}:0", "$A:0", f"{sep}:0"],
        pair=[f"{cls}:0", "$A:0", f"{sep}:0", "$B:1", f"{sep}:1"],
        special_tokens=[(name, backend.token_to_id(name)) for name in (cls, sep)],
    )
    return appended
