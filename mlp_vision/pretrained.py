"""Weights from a file onto a Mixer: every name and shape checked, nothing dropped silently."""

import dataclasses
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from mlp_core.console import say
from mlp_core.errors import UserError
from mlp_core.parameters import flatten, unflatten
from mlp_core.weight_files import ArrayHeader, check_npz, read_npz, read_npz_headers
from mlp_vision.mixer import Mixer, check_patch_size
from mlp_vision.models import MODELS, create_model
from mlp_vision.published_weights import PUBLISHED, locate_weights

Head = Literal["reset", "keep", "auto"]
HEAD = ("head/kernel", "head/bias")
MOST_LINES = 12  # Of mismatches shown one by one.


@dataclasses.dataclass(frozen=True)
class Architecture:
    """What the shapes in a weight file say about the model it belongs to."""

    sizes: dict[str, int]  # Fields of Mixer.
    num_classes: int  # 0 without a head.
    image_size: int


def load_pretrained(
    source: str,
    *,
    model: str | None = None,
    num_classes: int | None = None,
    image_size: int | None = None,
    head: Head = "auto",
    mirror: str | None = None,
    dtype: Any = jnp.float32,
) -> tuple[Mixer, dict[str, Any]]:
    """A Mixer with the weights of a file: `model.apply({"params": params}, images)` gives logits.

    Images are float, [B, image_size, image_size, 3], from -1 to 1 for Google's weights.

    Args:
      source: a published name such as "imagenet21k/Mixer-B_16", an npz path, or a URL.
      model: the model's name; None reads the sizes off the file.
      num_classes: width of the head; None as in the file, 0 for pooled features without a head.
      image_size: pixels a side; None as in the file.
      head: "keep" the file's, "reset" to zeros, or "auto": keep it where the class counts agree.
      mirror: a folder or URL to take published names from, in place of Google's bucket.
      dtype: of the arithmetic; parameters are float32.

    Raises:
        UserError: the file cannot be had, is damaged, or does not fit what is asked for.
    """
    path = locate_weights(source, mirror)
    found = read_architecture(path)
    num_classes = found.num_classes if num_classes is None else num_classes
    image_size = found.image_size if image_size is None else image_size
    if model is None:
        mixer = create_model("mixer", num_classes, dtype=dtype, **found.sizes)
    else:
        mixer = create_model(model, num_classes, dtype=dtype)
    return mixer, load_params(path, mixer, image_size, head)


def load_params(path: Path, model: Mixer, image_size: int, head: Head) -> dict[str, Any]:
    """Parameters for `model` at `image_size` pixels from an npz file, as float32 numpy arrays.

    Says in a line what became of the head.

    Raises:
        UserError: see `check_params`.
    """
    keeps_head = check_params(path, model, image_size, head)
    arrays = read_npz(path)
    expected = expected_params(model, image_size)
    classes = len(arrays["head/bias"]) if "head/bias" in arrays else 0
    if keeps_head:
        fate = f"with its head of {classes:,} classes"
    elif model.num_classes == 0:
        fate = f"without its head of {classes:,} classes"
    else:
        fate = f"with a zero head of {model.num_classes:,} classes in place of its {classes:,}"
        arrays |= {name: np.zeros(expected[name].shape, np.float32) for name in HEAD}
    say(f"Start: weights of {path}, {fate}")
    return unflatten({name: arrays[name] for name in expected})


def check_params(path: Path, model: Mixer, image_size: int, head: Head) -> bool:
    """Compares names and shapes in a file with those of a model; checks that the file is whole.

    Returns whether the file's head is kept.

    Raises:
        UserError: anything but a head that is to be replaced differs; each parameter is named.
    """
    headers = check_npz(path)
    found = _architecture(path, headers)
    expected = expected_params(model, image_size)
    keeps_head = _keeps_head(path, headers, model.num_classes, head)
    ignored = () if keeps_head else HEAD
    wanted = {name: leaf.shape for name, leaf in expected.items() if name not in ignored}
    there = {name: header.shape for name, header in headers.items() if name not in ignored}
    missing = [f"{n}: not in the file, the model has {wanted[n]}" for n in wanted if n not in there]
    foreign = [f"{n}: {there[n]} in the file, not in the model" for n in there if n not in wanted]
    different = [
        f"{n}: {there[n]} in the file, {wanted[n]} in the model"
        for n in wanted
        if n in there and there[n] != wanted[n]
    ]
    problems = different + missing + foreign
    if problems:
        shown = problems[:MOST_LINES]
        if len(problems) > len(shown):
            shown.append(f"and {len(problems) - len(shown)} more")
        remedy = _remedy(found, model, image_size) or "the file is not whole, or holds more."
        raise UserError(
            f"{path}: this file does not fit the model; {remedy}\n  " + "\n  ".join(shown)
        )
    return keeps_head


def check_before_fetching(source: str, mirror: str | None, model: Mixer, image_size: int) -> None:
    """Refuses weights that are known, without a download, to be of another size.

    Raises:
        UserError: a local file or a published name does not fit `model` at `image_size` pixels.
    """
    if source in PUBLISHED:
        file = PUBLISHED[source]
        found = Architecture(MODELS[file.model][1], file.num_classes, file.image_size)
    elif "://" not in source:
        found = read_architecture(locate_weights(source, mirror))
    else:
        return
    remedy = _remedy(found, model, image_size)
    if remedy:
        raise UserError(f"config.init.weights: {source} does not fit the model; {remedy}")


def expected_params(model: Mixer, image_size: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of the parameters of `model` at `image_size` pixels, by name."""
    images = jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.float32)
    check_patch_size(model.patch_size, (image_size, image_size))
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    return flatten(variables["params"])


def read_architecture(path: Path) -> Architecture:
    """Reads the sizes of a Mixer off the shapes in a weight file.

    Raises:
        UserError: these are no weights of a Mixer.
    """
    return _architecture(path, read_npz_headers(path))


def _architecture(path: Path, headers: Mapping[str, ArrayHeader]) -> Architecture:
    try:
        patch_size, _, _, hidden_dim = headers["stem/kernel"].shape
        tokens, tokens_mlp_dim = headers["MixerBlock_0/token_mixing/Dense_0/kernel"].shape
        _, channels_mlp_dim = headers["MixerBlock_0/channel_mixing/Dense_0/kernel"].shape
    except (KeyError, ValueError) as error:
        some = ", ".join(list(headers)[:3]) or "nothing"
        raise UserError(
            f"{path}: these are no weights of an MLP-Mixer in the published layout, with "
            f"stem/kernel and MixerBlock_0/token_mixing/Dense_0/kernel; the file holds {some} ..."
        ) from error
    blocks = {match[1] for name in headers if (match := re.match(r"MixerBlock_(\d+)/", name))}
    sizes = dict(
        patch_size=patch_size,
        hidden_dim=hidden_dim,
        num_blocks=len(blocks),
        tokens_mlp_dim=tokens_mlp_dim,
        channels_mlp_dim=channels_mlp_dim,
    )
    return Architecture(sizes, _num_classes(headers), patch_size * math.isqrt(tokens))


def _num_classes(headers: Mapping[str, ArrayHeader]) -> int:
    """The width of the head in a file; 0 without one."""
    header = headers.get("head/bias")
    return header.shape[0] if header is not None and len(header.shape) == 1 else 0


def _keeps_head(
    path: Path, headers: Mapping[str, ArrayHeader], num_classes: int, head: Head
) -> bool:
    """Whether the head of the file is used; refuses to keep one that does not fit."""
    if head not in get_args(Head):
        raise UserError(f"head={head!r} is none of {', '.join(get_args(Head))}.")
    there = _num_classes(headers)
    if head == "auto":
        return num_classes > 0 and there == num_classes
    if head == "keep" and there != num_classes:
        raise UserError(
            f"{path}: head/kernel and head/bias are for {there:,} classes in the file, for "
            f"{num_classes:,} in the model; head=reset starts with a zero head."
        )
    return head == "keep" and num_classes > 0


def _remedy(found: Architecture, model: Mixer, image_size: int) -> str:
    """What to change so that file and model fit; empty where their sizes agree."""
    different = {k: v for k, v in found.sizes.items() if getattr(model, k) != v}
    if different:
        fields = ", ".join(f"{name}={value}" for name, value in different.items())
        return f"it needs a model with {fields}."
    if found.image_size != image_size:
        return (
            f"it is for images of {found.image_size} pixels, not {image_size}: "
            f"set image_size={found.image_size}."
        )
    return ""
