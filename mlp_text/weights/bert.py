"""Published BERT weights in Hugging Face hub files: configuration, names and arrays."""

import codecs
import dataclasses
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pydantic

from mlp_core.config import MOST_BLOCKS, PositiveFloat, PositiveInt
from mlp_core.errors import UserError
from mlp_core.nn.parameters import flatten
from mlp_core.process.files import read_bytes
from mlp_core.weights.files import WeightFile, open_weight_file
from mlp_core.weights.sources import CONFIG_FILE, WEIGHTS_FILE
from mlp_text.models.bert import BertEncoder
from mlp_text.models.text_models import MaskedLm

GELU_NAMES = {"gelu": "erf", "gelu_new": "tanh"}  # By Hugging Face name.
DECISIVE = ("model_type", "hidden_act", "layer_norm_eps")  # Not derivable from shapes.
WORD_EMBEDDINGS = "embeddings.word_embeddings.weight"
OF_ENCODER = re.compile(r"(bert\.|)(?:embeddings|encoder\.layer)\.")
OF_HEAD = re.compile(r"(.*?)cls\.predictions\.")
# Encoders with BERT's parameter names and shapes but a different computation.
OTHER_MODELS = {"roberta", "electra", "ernie", "data2vec_text"}
HEAD_TABLE = "cls.predictions.decoder.weight"  # An optional copy of the word embeddings.
SAME_TENSOR = {"cls.predictions.decoder.bias": "cls.predictions.bias"}
# Flax names by hub name.
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
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
OTHER_FORMATS = ("*.onnx", "onnx/*.onnx", "*.h5", "*.msgpack", "*.gguf", "*.zip", "*.safetensors")
EXAMPLE_CONFIG = (
    '{"model_type": "bert", "num_attention_heads": 12, "hidden_act": "gelu", '
    '"layer_norm_eps": 1e-12}'
)
PADDED_TO = [2**power for power in range(3, 11)]  # Table rows are padded to multiples of these.
MOST_NAMES = 12  # Most missing or mismatched tensors to list.
Shapes = Mapping[str, tuple[int, ...]]


class BertConfig(pydantic.BaseModel):
    """The configuration in the hub's format.

    Absent sizes are None; the shapes of the weights determine all of them except the number of
    heads. The other defaults are those of the format; see `assumed`.
    """

    model_config = pydantic.ConfigDict(frozen=True, allow_inf_nan=False)

    model_type: Literal["bert"] = "bert"  # RoBERTa and others use the same array names.
    position_embedding_type: Literal["absolute"] = "absolute"
    is_decoder: Literal[False] = False
    hidden_act: Literal["gelu", "gelu_new"] = "gelu"
    layer_norm_eps: PositiveFloat = 1e-12
    num_attention_heads: PositiveInt | None = None
    vocab_size: PositiveInt | None = None
    hidden_size: PositiveInt | None = None
    num_hidden_layers: PositiveInt | None = None
    intermediate_size: PositiveInt | None = None
    max_position_embeddings: PositiveInt | None = None
    type_vocab_size: PositiveInt | None = None

    @property
    def assumed(self) -> dict[str, Any]:
        """Absent fields that no shape determines, with the format's defaults."""
        unset = [name for name in DECISIVE if name not in self.model_fields_set]
        return {name: getattr(self, name) for name in unset}


def read_bert_config(path: Path) -> BertConfig:
    """Reads the configuration; a byte-order mark is ignored.

    Raises:
        UserError: it cannot be read or is not supported.
    """
    try:
        return BertConfig.model_validate_json(read_bytes(path).removeprefix(codecs.BOM_UTF8))
    except pydantic.ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(map(str, problem["loc"]))
        if not field:
            raise UserError(
                f"{path}: no configuration of a BERT model ({problem['msg']})."
            ) from error
        reason = problem["msg"][0].lower() + problem["msg"][1:]
        raise UserError(
            f"{path}: {field} is {problem['input']!r:.60}, which is not supported: {reason}."
        ) from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}).") from error


def encoder_prefixes(names: Iterable[str]) -> list[str]:
    """Returns the prefixes of `embeddings.` in `names`, such as `bert.`: one per encoder.

    Empty without a BERT.
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
    """Returns the name without the encoder's `prefix`, and with weight and bias for gamma and beta.

    Aliases of a tensor map to the first of its names.
    """
    head = OF_HEAD.match(name)
    if name.startswith(prefix):
        name = name.removeprefix(prefix)
    elif head and prefix.startswith(head[1]):  # `module.cls.` next to `module.bert.`.
        name = name.removeprefix(head[1])
    name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name)
    name = re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name)
    return SAME_TENSOR.get(name, name)


def num_blocks_in(names: Iterable[str]) -> int:
    """Returns the number of blocks of parameters with these names."""
    matches = (re.match(r"encoder\.layer\.(\d+)\.", name) for name in names)
    return len({match[1] for match in matches if match})


def encoder_names(num_blocks: int) -> dict[str, str]:
    """Returns {hub name: Flax name} of a `BertEncoder`, under `encoder/`."""
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
    """Returns {hub name: Flax name} of a `MaskedLmHead`, under `head/`."""
    return _leaves(HEAD_PARTS) | {"cls.predictions.bias": "head/bias"}


def pooler_names() -> dict[str, str]:
    """Returns {hub name: Flax name} of the pooler of a `ClassificationHead`."""
    return _leaves({"pooler.dense": "pooler"})


def is_kernel(our_name: str) -> bool:
    """Returns whether a parameter is a kernel, which hub files store transposed."""
    return our_name.endswith("/kernel")


def _leaves(parts: Mapping[str, str]) -> dict[str, str]:
    names = {}
    for theirs, ours in parts.items():
        weight = "scale" if theirs.endswith("LayerNorm") else "kernel"
        names |= {f"{theirs}.weight": f"{ours}/{weight}", f"{theirs}.bias": f"{ours}/bias"}
    return names


@dataclasses.dataclass(frozen=True)
class BertWeights:
    """Published BERT weights whose arrays have not been read yet."""

    path: Path  # Weight file.
    settings: dict[str, Any]  # Sizes and numerics, as fields of `BertEncoder`.
    has_masked_lm_head: bool
    has_pooler: bool
    assumed: dict[str, Any]  # Absent from `config.json`, see `BertConfig.assumed`.
    _file: WeightFile
    _prefix: str  # Prefix of the encoder's names.
    _our_names: dict[str, str]  # Flax names by plain name.

    def read(self) -> dict[str, np.ndarray]:
        """Returns the arrays as float32, by Flax name.

        Names are `encoder/...`; with a masked-LM head `head/...`, as in `MaskedLm`; with a pooler
        `pooler/kernel` and `pooler/bias`, as in `ClassificationHead`.

        Raises:
            UserError: the file is corrupt, or its head does not share the encoder's embeddings.
        """
        arrays = self._file.read()
        theirs = {plain_name(name, self._prefix): array for name, array in arrays.items()}
        words = theirs[WORD_EMBEDDINGS]
        if self.has_masked_lm_head and not np.array_equal(theirs.get(HEAD_TABLE, words), words):
            raise UserError(
                f"{self.path}: {HEAD_TABLE} differs from {WORD_EMBEDDINGS}; a masked-LM head with "
                "a table of its own is not supported."
            )
        return {
            ours: theirs[name].T if is_kernel(ours) else theirs[name]
            for name, ours in self._our_names.items()
        }


def is_padded(rows: int, entries: int) -> bool:
    """Returns whether `rows` is the vocabulary size `entries` padded for hardware efficiency.

    30,528 rows are 30,522 entries and 6 unused rows. A single extra row counts as an entry missing
    from the vocabulary.
    """
    extra = rows - entries
    return extra > 1 and any(extra < size and rows % size == 0 for size in PADDED_TO)


def open_bert(path: Path) -> BertWeights:
    """Takes sizes from array shapes, numerics from `config.json` next to them; reads no arrays.

    If several models share a directory, the configuration of files NAME* may be called
    NAME_config.json. It must give the number of attention heads, which no shape shows; other absent
    fields have the format's defaults, see `BertWeights.assumed`.

    Args:
      path: a weight file, or a directory with `model.safetensors`.

    Raises:
        UserError: these are not complete BERT weights (lists missing tensors), or the configuration
          is missing, contradicts them or is not supported.
    """
    path = _file_in(path) if path.is_dir() else path
    file = open_weight_file(path)
    prefix = _prefix(file)
    shapes = {plain_name(name, prefix): header.shape for name, header in file.headers.items()}
    num_blocks = max(num_blocks_in(shapes), 1)
    if num_blocks > MOST_BLOCKS:
        raise UserError(
            f"{path}: {num_blocks:,} blocks are more than the {MOST_BLOCKS:,} of a model."
        )
    names = encoder_names(num_blocks)
    has_head, has_pooler = (
        not part.keys().isdisjoint(shapes) for part in (head_names(), pooler_names())
    )
    names |= head_names() if has_head else {}
    names |= pooler_names() if has_pooler else {}
    _check_names(path, shapes, names)
    sizes = _sizes(path, shapes) | {"num_blocks": num_blocks}
    config_path = _config_beside(path)
    config = _read_config(config_path, sizes["hidden_dim"])
    _check_config(config_path, config, sizes)
    settings = sizes | {
        "num_heads": _num_heads(config_path, config, sizes["hidden_dim"]),
        "gelu": GELU_NAMES[config.hidden_act],
        "layer_norm_epsilon": config.layer_norm_eps,
    }
    _check_shapes(path, shapes, names, settings)
    return BertWeights(path, settings, has_head, has_pooler, config.assumed, file, prefix, names)


def _prefix(file: WeightFile) -> str:
    """Returns the name prefix of the only encoder in the file."""
    prefixes = encoder_prefixes(file.headers)
    if not prefixes:
        some = ", ".join(list(file.headers)[:3]) or "nothing"
        raise UserError(
            f"{file.path}: these are no weights of BERT as the Hugging Face hub names them "
            f"(bert.{WORD_EMBEDDINGS}); the file holds {some} ..."
        )
    if len(prefixes) > 1:
        raise UserError(
            f"{file.path}: holds {len(prefixes)} BERTs, with names that begin with "
            f"{', '.join(repr(prefix) for prefix in prefixes)}; write one of them to a file of its "
            "own."
        )
    return prefixes[0]


def _config_beside(path: Path) -> Path:
    """Returns the path of the configuration, which need not exist."""
    ending = f"_{CONFIG_FILE}"
    named = path.parent.glob(f"?*{ending}")
    own = [file for file in named if path.name.startswith(file.name.removesuffix(ending))]
    return max(own, key=lambda file: len(file.name), default=path.with_name(CONFIG_FILE))


def _read_config(path: Path, hidden_dim: int) -> BertConfig:
    """Reads the configuration, which must give what no shape shows."""
    config = read_bert_config(path) if path.is_file() else None
    if config is None or config.num_attention_heads is None:
        raise UserError(
            f"{path}: needed to say num_attention_heads, since the {hidden_dim} channels of the "
            f"weights can be split into heads in several ways. Put the {CONFIG_FILE} there that "
            "was published with them. If it is lost, write one with the model's own values, such "
            f"as {EXAMPLE_CONFIG}"
        )
    return config


def _file_in(folder: Path) -> Path:
    if (folder / WEIGHTS_FILE).is_file():
        return folder / WEIGHTS_FILE
    if pickles := _found(folder, PICKLES):
        raise UserError(
            f"{folder}: {pickles[0]} is a pickle of PyTorch's, which could run any code when it is "
            f"read; take {WEIGHTS_FILE} of the same weights, or convert the pickle as "
            "docs/weights.md shows."
        )
    if others := _found(folder, OTHER_FORMATS):
        raise UserError(
            f"{folder}: there is no {WEIGHTS_FILE} in this folder, but {_some(others)}; name a "
            "safetensors file itself, unpack an archive, and convert other formats as "
            "docs/weights.md shows."
        )
    raise UserError(f"{folder}: there is no {WEIGHTS_FILE} in this folder.")


def has_other_formats(folder: Path) -> bool:
    """Returns whether a directory holds weights that may be a BERT's in another format."""
    return bool(_found(folder, (*PICKLES, *OTHER_FORMATS)))


def _found(folder: Path, patterns: Iterable[str]) -> list[str]:
    files = [file for pattern in patterns for file in folder.glob(pattern)]
    return sorted(str(file.relative_to(folder)) for file in files)


def _check_names(path: Path, there: Iterable[str], wanted: Iterable[str]) -> None:
    missing = [name for name in wanted if name not in there]
    if missing:
        raise UserError(f"{path}: not the whole weights of a BERT; it lacks {_some(missing)}.")
    encoder = ("embeddings.", "encoder.")  # Other names may belong to any heads.
    foreign = [name for name in there if name.startswith(encoder) and name not in wanted]
    if foreign:
        raise UserError(f"{path}: not the weights of a plain BERT; it has {_some(foreign)}.")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


def _sizes(path: Path, shapes: Shapes) -> dict[str, int]:
    """Returns the `BertEncoder` sizes that shapes determine."""
    sizes = {}
    for name, rows in {
        "embeddings.position_embeddings.weight": "max_length",
        "embeddings.token_type_embeddings.weight": "num_segments",
        "encoder.layer.0.intermediate.dense.weight": "ffn_dim",
        WORD_EMBEDDINGS: "vocab_size",
    }.items():
        if len(shapes[name]) != 2 or 0 in shapes[name]:
            raise UserError(f"{path}: {name} is of shape {shapes[name]}, not a matrix.")
        sizes[rows], sizes["hidden_dim"] = shapes[name]
    return sizes


def _check_config(path: Path, config: BertConfig, sizes: Mapping[str, int]) -> None:
    for field, size in {
        "vocab_size": "vocab_size",
        "hidden_size": "hidden_dim",
        "num_hidden_layers": "num_blocks",
        "intermediate_size": "ffn_dim",
        "max_position_embeddings": "max_length",
        "type_vocab_size": "num_segments",
    }.items():
        told = getattr(config, field)
        if field == "vocab_size" and told and is_padded(sizes[size], told):
            continue
        if told not in (None, sizes[size]):
            raise UserError(
                f"{path}: {field} is {told}, but {sizes[size]} in the arrays of the weights beside "
                "it; fetch both again from the same place."
            )


def _num_heads(path: Path, config: BertConfig, hidden_dim: int) -> int:
    num_heads = config.num_attention_heads
    if hidden_dim % num_heads:
        raise UserError(
            f"{path}: num_attention_heads is {num_heads}, which does not divide the {hidden_dim} "
            "channels of the weights beside it."
        )
    return num_heads


def _check_shapes(
    path: Path, there: Shapes, names: Mapping[str, str], settings: Mapping[str, Any]
) -> None:
    """Compares the shapes with those of the model that the settings describe."""
    model = MaskedLm(BertEncoder(**settings))
    ids = jax.ShapeDtypeStruct((1, 1), jnp.int32)
    variables = jax.eval_shape(model.init, jax.random.key(0), ids)
    wanted = {name: leaf.shape for name, leaf in flatten(variables["params"]).items()}
    channels = settings["hidden_dim"]
    wanted |= {"pooler/kernel": (channels, channels), "pooler/bias": (channels,)}
    problems = []
    for name, ours in names.items():
        expected = wanted[ours][::-1] if is_kernel(ours) else wanted[ours]
        if there[name] != expected:
            problems.append(f"{name} ({there[name]} there, {expected} expected)")
    if problems:
        raise UserError(f"{path}: tensors do not fit together: {_some(problems)}.")
