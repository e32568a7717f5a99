"""Names of BERT's parameters in published files, and ours.

Theirs are those of the Hugging Face hub without `bert.` before them, LayerNorm's weight and bias.
"""

import re
from collections.abc import Iterable, Mapping

WORD_EMBEDDINGS = "embeddings.word_embeddings.weight"
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


def plain_name(name: str) -> str:
    """Theirs, without `bert.` before it, and with weight and bias for TensorFlow's gamma and beta.

    Of two names for the same tensor it is the first.
    """
    name = name.removeprefix("bert.")
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
