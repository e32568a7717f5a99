"""Models by name: the sizes of the papers, every field of which may be overridden."""

from typing import Any

import flax.linen as nn

from mlp_core.errors import UserError
from mlp_core.mlp_block import GELU_FORMS
from mlp_vision.mixer import Mixer

SIZE_FIELDS = ("patch_size", "hidden_dim", "num_blocks", "tokens_mlp_dim", "channels_mlp_dim")

# MLP-Mixer, table 1; S/8 is the size of one published weight file.
MIXER_SIZES = {
    name: dict(zip(SIZE_FIELDS, sizes, strict=True))
    for name, sizes in {
        "s32": (32, 512, 8, 256, 2048),
        "s16": (16, 512, 8, 256, 2048),
        "s8": (8, 512, 8, 256, 2048),
        "b32": (32, 768, 12, 384, 3072),
        "b16": (16, 768, 12, 384, 3072),
        "l32": (32, 1024, 24, 512, 4096),
        "l16": (16, 1024, 24, 512, 4096),
        "h14": (14, 1280, 32, 640, 5120),
    }.items()
}

# Name: module and the fields that the name settles. "mixer" leaves all sizes to the caller.
MODELS: dict[str, tuple[type[nn.Module], dict[str, Any]]] = {
    "mixer": (Mixer, {}),
    **{f"mixer_{name}": (Mixer, sizes) for name, sizes in MIXER_SIZES.items()},
}


def create_model(name: str, num_classes: int, **overrides: Any) -> nn.Module:
    """A model by name, such as `create_model("mixer_s16", num_classes=10)`.

    Args:
      name: one of `MODELS`.
      num_classes: width of the head; 0 for pooled features.
      **overrides: any field of the module, such as `patch_size` or `dtype`.

    Raises:
        UserError: the name or a field is unknown, or a size is missing.
    """
    module, sizes = find_model(name)
    fields = sizes | overrides
    known = {field for field in module.__dataclass_fields__ if field not in ("parent", "name")}
    for field in fields.keys() - known:
        raise UserError(
            f"model {name!r} has no field {field!r}; it has {', '.join(sorted(known))}."
        )
    if fields.get("gelu", "tanh") not in GELU_FORMS:
        raise UserError(f"gelu={fields['gelu']!r} is none of {', '.join(GELU_FORMS)}.")
    missing = [field for field in SIZE_FIELDS if field not in fields]
    if missing:
        raise UserError(f"model {name!r} needs {', '.join(missing)}.")
    return module(num_classes=num_classes, **fields)


def find_model(name: str) -> tuple[type[nn.Module], dict[str, Any]]:
    """The module of a model, and the fields that its name settles.

    Raises:
        UserError: there is no such model.
    """
    if name not in MODELS:
        raise UserError(f"there is no model {name!r}; choose from {', '.join(sorted(MODELS))}.")
    return MODELS[name]
