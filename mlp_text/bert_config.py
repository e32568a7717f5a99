"""`config.json` beside published BERT weights: what of it the encoder depends on."""

from pathlib import Path
from typing import Literal

import pydantic

from mlp_core.config import PositiveFloat, PositiveInt
from mlp_core.errors import UserError
from mlp_core.small_files import read_bytes

GELU_NAMES = {"gelu": "erf", "gelu_new": "tanh"}  # Ours by those of the Hugging Face hub.


class BertConfig(pydantic.BaseModel):
    """The configuration in the hub's terms; what it leaves out is as BERT has it.

    Sizes are None where it says nothing; the arrays of the weights settle them.
    """

    model_config = pydantic.ConfigDict(frozen=True, allow_inf_nan=False)

    model_type: Literal["bert"] = "bert"  # Others name their arrays alike: RoBERTa, say.
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


def read_bert_config(path: Path) -> BertConfig:
    """Reads the configuration; all defaults where there is no such file.

    Raises:
        UserError: it cannot be read, or asks for what is not supported.
    """
    if not path.is_file():
        return BertConfig()
    try:
        return BertConfig.model_validate_json(read_bytes(path))
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
