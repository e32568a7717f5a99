"""Text models by name, with the papers' sizes; every field may be overridden."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import pydantic

from mlp_core.errors import UserError
from mlp_core.planning.matmul_flops import costs_of
from mlp_text.models.model_spec import BertEncoderSpec, GmlpEncoderSpec, reason_of

# The paper's text models, including aMLP, use Toeplitz matrices. Here, as for images, that form is
# named tMLP, and gMLP defaults to full matrices.
TMLP_FORM = dict(spatial_matrix="toeplitz")
AMLP_FORM = TMLP_FORM | dict(tiny_attention_dim=64)
VOCABULARY = 32_000  # Tokens, as in Pay Attention to MLPs.


def _sizes(num_blocks: int, hidden_dim: int, ffn_dim: int, max_length: int) -> dict[str, int]:
    return dict(
        num_blocks=num_blocks, hidden_dim=hidden_dim, ffn_dim=ffn_dim, max_length=max_length
    )


# Pay Attention to MLPs: table 4 (128 tokens, by depth) and table 5 (512 tokens).
GMLP_SIZES = {
    **{f"l{depth}": _sizes(depth, 512, 3072, 128) for depth in (18, 36, 72, 144)},
    "base": _sizes(48, 512, 3072, 512),
    "large": _sizes(96, 768, 3072, 512),
    "xlarge": _sizes(144, 1024, 4096, 512),
}
AMLP_SIZES = {
    **{name: GMLP_SIZES[name] | dict(tiny_attention_dim=64) for name in ("l18", "l36")},
    "base": _sizes(36, 512, 3072, 512) | dict(tiny_attention_dim=64),
    "large": _sizes(72, 768, 3072, 512) | dict(tiny_attention_dim=128),
}
BERT_SIZES = {  # BERT (arXiv:1810.04805), section 3; tiny: arXiv:1908.08962, table 1.
    "tiny": _sizes(2, 128, 512, 512) | dict(num_heads=2),
    "base": _sizes(12, 768, 3072, 512) | dict(num_heads=12),
    "large": _sizes(24, 1024, 4096, 512) | dict(num_heads=16),
}

# Name: architecture and fields set by the name. "gmlp", for example, sets no sizes.
MODELS: dict[str, tuple[type[GmlpEncoderSpec] | type[BertEncoderSpec], dict[str, Any]]] = {
    "gmlp": (GmlpEncoderSpec, {}),
    "tmlp": (GmlpEncoderSpec, TMLP_FORM),
    "amlp": (GmlpEncoderSpec, AMLP_FORM),
    "bert": (BertEncoderSpec, {}),
    **{f"gmlp_{name}": (GmlpEncoderSpec, sizes) for name, sizes in GMLP_SIZES.items()},
    **{f"tmlp_{name}": (GmlpEncoderSpec, sizes | TMLP_FORM) for name, sizes in GMLP_SIZES.items()},
    **{f"amlp_{name}": (GmlpEncoderSpec, AMLP_FORM | sizes) for name, sizes in AMLP_SIZES.items()},
    **{f"bert_{name}": (BertEncoderSpec, sizes) for name, sizes in BERT_SIZES.items()},
}


def find_model(name: str) -> tuple[type[GmlpEncoderSpec] | type[BertEncoderSpec], dict[str, Any]]:
    """Returns the architecture of an encoder and the fields set by its name.

    Raises:
        UserError: the model does not exist.
    """
    if name not in MODELS:
        raise UserError(f"there is no text model {name!r}; choose from {', '.join(MODELS)}.")
    return MODELS[name]


def create_encoder(name: str, vocab_size: int, **overrides: Any) -> nn.Module:
    """Creates an encoder by name, such as `create_encoder("tmlp_base", vocab_size=32_000)`.

    `encoder.apply({"params": params}, input_ids, attention_mask, token_type_ids)` is [B, S, C].

    Args:
      name: one of `MODELS`.
      vocab_size: rows of the embedding.
      **overrides: any field of the encoder, such as `num_blocks` or `dropout_rate`.

    Raises:
        UserError: the name or a field is unknown, a size is missing, or a value is invalid.
    """
    architecture, named = find_model(name)
    given = named | overrides | dict(vocab_size=vocab_size)
    own = {field.name: field for field in dataclasses.fields(architecture)}
    required = [n for n, field in own.items() if field.default is dataclasses.MISSING]
    if missing := [field for field in required if field not in given]:
        raise UserError(f"text model {name!r} needs {', '.join(missing)}.")
    try:
        spec = architecture(**{field: given[field] for field in own if field in given})
    except pydantic.ValidationError as error:
        raise UserError(f"text model {name!r}: {reason_of(error)}.") from error
    module = spec.create()
    rest = {field: value for field, value in given.items() if field not in own}
    if unknown := rest.keys() - module.__dataclass_fields__.keys():
        raise UserError(f"text model {name!r} has no field {min(unknown)!r}.")
    return module.clone(**rest)


def model_costs(name: str) -> dict[str, float]:
    """Returns {"parameters": in millions, "gflops": forward, per sequence} of a named encoder.

    The sequence has the model's maximum length.
    """
    # Scanned layers are traced in a fraction of the time.
    encoder = create_encoder(name, VOCABULARY, scan_layers=True)
    ids = jax.ShapeDtypeStruct((1, encoder.max_length), jnp.int32)
    return costs_of(encoder, ids)
