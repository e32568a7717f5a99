"""`config.json` beside published BERT weights: what of it the encoder depends on."""

import codecs
from pathlib import Path
from typing import Any, Literal

import pydantic

from mlp_core.config import PositiveFloat, PositiveInt
from mlp_core.errors import UserError
from mlp_core.process.small_files import read_bytes

GELU_NAMES = {"gelu": "erf", "gelu_new": "tanh"}  # By the names of the Hugging Face hub.
DECISIVE = ("model_type", "hidden_act", "layer_norm_eps")  # Not visible in any shape.


class BertConfig(pydantic.BaseModel):
    """The configuration in the hub's terms.

    Sizes are None where it does not give them; the shapes of the weights settle all of them but the
    number of heads. The other defaults are those of the format; see `assumed`.
    """

    model_config = pydantic.ConfigDict(frozen=True, allow_inf_nan=False)

    model_type: Literal["bert"] = "bert"  # RoBERTa and others name their arrays alike.
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
        """The fields that no shape settles and the file leaves out, with the format's defaults."""
        unset = [name for name in DECISIVE if name not in self.model_fields_set]
        return {name: getattr(self, name) for name in unset}


def read_bert_config(path: Path) -> BertConfig:
    """Reads the configuration; a byte-order mark in front is ignored.

    Raises:
        UserError: it cannot be read, or asks for something that is not supported.
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
