"""Names of BERT's parameters in published files, and in this project.

Plain names are those of the Hugging Face hub without the prefix of the encoder (`bert.`,
`0.auto_model.`, `module.bert.` ...), with weight and bias for LayerNorm.
"""

import re
from collections.abc import Iterable, Mapping

WORD_EMBEDDINGS = "embeddings.word_embeddings.weight"
OF_ENCODER = re.compile(r"(bert\.|)(?:embeddings|encoder\.layer)\.")
OF_HEAD = re.compile(r"(.*?)cls\.predictions\.")
# Encoders whose parameters have the names and shapes of BERT's, but which compute something else.
OTHER_MODELS = {"roberta", "electra", "ernie", "data2vec_text"}
HEAD_TABLE = "cls.predictions.decoder.weight"  # A copy of the word embeddings, where it is there.
SAME_TENSOR = {"cls.predictions.decoder.bias": "cls.predictions.bias"}

# Ours by theirs.
BLOCK_PARTS = {
    "attention.self.query": "query",
    "attention.self.key": "key",
    "attention.self.value": "value",
    "attention.output.dense": "attention_out",
    "attention.output.LayerNorm": "attention_norm",
    "intermediate.dense": "project_in",
    "output.dense": "project_out",
    "output.LayerNorm": "out_norm",
}
HEAD_PARTS = {
    "cls.predictions.transform.dense": "head/transform",
    "cls.predictions.transform.LayerNorm": "head/norm",
}


def encoder_prefixes(names: Iterable[str]) -> list[str]:
    """What comes before `embeddings.` in `names`, such as `bert.`: one entry per encoder.

    Empty if there is no BERT among them.
    """
    names = list(names)
    found = {n.removesuffix(WORD_EMBEDDINGS) for n in names if n.endswith(WORD_EMBEDDINGS)}
    if not found:  # An incomplete BERT, whose missing tensors are reported one by one.
        found = {match[1] for match in map(OF_ENCODER.match, names) if match}
    return sorted(
        prefix
        for prefix in found
        if not prefix or (prefix.endswith(".") and OTHER_MODELS.isdisjoint(prefix.split(".")))
    )


def plain_name(name: str, prefix: str) -> str:
    """The name without the encoder's `prefix`, and with weight and bias for gamma and beta.

    Of two names for the same tensor it is the first.
    """
    head = OF_HEAD.match(name)
    if name.startswith(prefix):
        name = name.removeprefix(prefix)
    elif head and prefix.startswith(head[1]):  # `module.cls.` beside `module.bert.`.
        name = name.removeprefix(head[1])
    name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name)
    name = re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name)
    return SAME_TENSOR.get(name, name)


def num_blocks_in(names: Iterable[str]) -> int:
    """How many blocks parameters of these names are of."""
    matches = (re.match(r"encoder\.layer\.(\d+)\.", name) for name in names)
    return len({match[1] for match in matches if match})


def encoder_names(num_blocks: int) -> dict[str, str]:
    """{their name: our name} of a `BertEncoder`, under `encoder/`."""
    tables = {
        f"embeddings.{name}.weight": f"encoder/{name}/embedding"
        for name in ("word_embeddings", "position_embeddings", "token_type_embeddings")
    }
    parts = {"embeddings.LayerNorm": "encoder/embeddings_norm"}
    for i in range(num_blocks):
        parts |= {
            f"encoder.layer.{i}.{theirs}": f"encoder/BertBlock_{i}/{ours}"
            for theirs, ours in BLOCK_PARTS.items()
        }
    return tables | _leaves(parts)


def head_names() -> dict[str, str]:
    """{their name: our name} of a `MaskedLmHead`, under `head/`."""
    return _leaves(HEAD_PARTS) | {"cls.predictions.bias": "head/bias"}


def pooler_names() -> dict[str, str]:
    """{their name: our name} of the pooler of a `ClassificationHead`."""
    return _leaves({"pooler.dense": "pooler"})


def is_kernel(our_name: str) -> bool:
    """Whether it is a kernel, which lies transposed in their files."""
    return our_name.endswith("/kernel")


def _leaves(parts: Mapping[str, str]) -> dict[str, str]:
    names = {}
    for theirs, ours in parts.items():
        weight = "scale" if theirs.endswith("LayerNorm") else "kernel"
        names |= {f"{theirs}.weight": f"{ours}/{weight}", f"{theirs}.bias": f"{ours}/bias"}
    return names
