"""The five special tokens that every model needs, and their names in vocabularies."""

import tokenizers
from tokenizers import AddedToken, processors

# In the order of their ids in vocabularies trained here.
NAMES = {
    "pad": ("[PAD]", "<pad>"),
    "unk": ("[UNK]", "<unk>"),
    "cls": ("[CLS]", "<cls>", "<s>"),
    "sep": ("[SEP]", "<sep>", "</s>"),
    "mask": ("[MASK]", "<mask>"),
}
SPECIAL_TOKENS = tuple(names[0] for names in NAMES.values())  # BERT's names.


def find_special_tokens(backend: tokenizers.Tokenizer) -> dict[str, str]:
    """Returns the vocabulary's names for those of `pad`, `unk`, `cls`, `sep`, `mask` it has."""
    vocabulary = backend.get_vocab()
    found = {
        role: next((name for name in names if name in vocabulary), None)
        for role, names in NAMES.items()
    }
    return {role: name for role, name in found.items() if name is not None}


def complete_special_tokens(backend: tokenizers.Tokenizer) -> list[str]:
    """Appends the special tokens missing from the vocabulary, and returns them.

    Afterwards all five are recognised in text, and the backend's post-processor uses BERT's
    templates: `[CLS] a [SEP]`, `[CLS] a [SEP] b [SEP]`.
    """
    found = find_special_tokens(backend)
    appended = [names[0] for role, names in NAMES.items() if role not in found]
    known = {token.content for token in backend.get_added_tokens_decoder().values()}
    for role, names in NAMES.items():
        name = found.setdefault(role, names[0])
        if name not in known:
            # A mask absorbs the space before it, since its prediction includes one.
            token = AddedToken(name, special=True, normalized=False, lstrip=role == "mask")
            backend.add_special_tokens([token])
    cls, sep = found["cls"], found["sep"]
    backend.post_processor = processors.TemplateProcessing(
        single=[f"{cls}:0", "$A:0", f"{sep}:0"],
        pair=[f"{cls}:0", "$A:0", f"{sep}:0", "$B:1", f"{sep}:1"],
        special_tokens=[(name, backend.token_to_id(name)) for name in (cls, sep)],
    )
    return appended
