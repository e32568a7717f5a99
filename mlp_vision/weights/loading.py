"""Opens weights: architecture and sizes come from their content, numerics from their source.

Supports files in the published layout, its predecessor or timm's, and checkpoints of runs.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pydantic

from mlp_core.checkpoints.saved_runs import open_saved_run
from mlp_core.errors import UserError
from mlp_core.nn.parameters import check_shapes, flatten
from mlp_core.process.console import say
from mlp_core.process.files import parse_json, read_json, read_text
from mlp_core.run_folder.run_directory import RunFiles, has_checkpoint
from mlp_core.weights.files import WeightFile, open_weight_file
from mlp_core.weights.sources import CONFIG_FILE, WEIGHTS_FILE
from mlp_vision.models.model_spec import ModelSpec, Output, Shapes
from mlp_vision.models.registry import ARCHITECTURES
from mlp_vision.models.weight_layouts import MLP_LAYOUTS, Layout, layout_of, rearrange

METADATA_KEY = "all_mlp_model"  # Metadata key in weight files.
TIMM_CROP_SHARE = 0.875  # Share of a side, as in the presets.
LAYOUTS = (
    *itertools.chain.from_iterable(a.LAYOUTS for a in ARCHITECTURES.values()),
    *MLP_LAYOUTS,  # Last, because ViT files also contain a marker of the oldest layout.
)
SIGMOID_CLASSES = 21_843  # ImageNet-21k heads were trained with one sigmoid per class.


def read_spec(file: Path) -> ModelSpec:
    """Reads the model description of a run.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        text = read_text(file)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{file}: the description of the model cannot be read ({error}); without it the "
            "checkpoints there cannot be used."
        ) from error
    return spec_from_json(text, file)


def spec_from_json(text: str, origin: Path) -> ModelSpec:
    """Parses the output of `ModelSpec.to_json`.

    Raises:
        UserError: the text is invalid; names `origin`.
    """
    try:
        values = parse_json(text)
        # Descriptions from before gMLP was added name no architecture.
        architecture = ARCHITECTURES[values.get("architecture", "mixer")]
        return pydantic.TypeAdapter(architecture).validate_json(text)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
    raise UserError(f"{origin}: does not describe a model of this project ({reason}).")


def metadata_of(spec: ModelSpec) -> Mapping[str, str]:
    """Returns the metadata of an exported weight file that describe its model."""
    return {METADATA_KEY: spec.to_json()}


@dataclasses.dataclass(frozen=True)
class Weights:
    """Weights with their arrays not read yet."""

    path: Path
    origin: str  # In words, such as "published layout".
    spec: ModelSpec
    check: Callable[[], object]  # Reads everything; raises UserError if damaged.
    read: Callable[[], dict[str, np.ndarray]]  # Float32, by this project's names.


def open_weights(path: Path) -> Weights:
    """Detects weights by their content; reads names, shapes and metadata only.

    Args:
      path: a weight file; a directory with timm's `model.safetensors`; the directory of a run
        (its latest checkpoint) or of one of its checkpoints.

    Raises:
        UserError: there are no weights of a known model, or they are incomplete; names each
          parameter that is missing, unexpected or of a wrong shape.
    """
    if not path.is_dir():
        return _open_file(path)
    path = path.resolve()  # Links to checkpoints count as checkpoints.
    if not has_checkpoint(path) and (path / WEIGHTS_FILE).is_file():
        return _open_file(path / WEIGHTS_FILE)
    return _open_run(path)


def output_of_head(num_classes: int) -> Output:
    """Returns the output function of a published head."""
    return "sigmoid" if num_classes == SIGMOID_CLASSES else "softmax"


def expected_params(model: nn.Module, image_size: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns parameter shapes of `model` at `image_size` pixels, by name."""
    images = jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    return flatten(variables["params"])


def _open_file(path: Path) -> Weights:
    file = open_weight_file(path)
    layout = layout_of(file.headers, LAYOUTS)
    if layout is None:
        raise _unknown(path, file)
    stand_ins = {
        name: np.broadcast_to(np.zeros((), header.dtype), header.shape)  # Allocates no memory.
        for name, header in file.headers.items()
    }
    shapes = {name: array.shape for name, array in rearrange(layout, stand_ins).items()}
    architecture, sizes = _architecture_and_sizes(shapes)
    if architecture is None:
        raise _unknown(path, file)
    try:
        spec = _spec_of_file(file, layout, architecture, sizes)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            f"{path}: no model of this project ({first['loc'][0]}: {first['msg']})."
        ) from error
    _check_shapes(path, shapes, spec)
    return Weights(
        path,
        f"{layout.name} layout",
        spec,
        check=file.check,
        read=lambda: rearrange(layout, file.read()),
    )


def _open_run(path: Path) -> Weights:
    run = open_saved_run(path, ["image_classification"])
    spec = read_spec(RunFiles.of(run.workdir).model)
    _check_shapes(run.checkpoint, run.params.shapes, spec)
    return Weights(run.checkpoint, run.origin, spec, check=run.params.read, read=run.params.read)


def _spec_of_file(
    file: WeightFile, layout: Layout, architecture: type[ModelSpec], sizes: dict[str, Any]
) -> ModelSpec:
    described = file.metadata.get(METADATA_KEY)
    if described is not None:
        spec = spec_from_json(described, file.path)
        if not isinstance(spec, architecture):
            raise UserError(
                f"{file.path}: its description is that of {spec.TITLE}, its arrays are those of "
                f"{architecture.TITLE}."
            )
        return dataclasses.replace(spec, **sizes)
    numerics = architecture.GOOGLE_NUMERICS
    if layout.name == "timm":
        config = _read_timm_config(file.path.with_name(CONFIG_FILE))
        numerics = {**architecture.TIMM_NUMERICS, **config}
    output = output_of_head(sizes["num_classes"])
    return architecture(**{**numerics, **sizes}, output=output)


def _architecture_and_sizes(shapes: Shapes) -> tuple[type[ModelSpec] | None, dict[str, Any]]:
    """Infers the architecture from parameter shapes; None if unknown.

    Sizes are those of a spec, with `num_classes` and `image_size`.
    """
    if any(0 in shape for shape in shapes.values()):
        return None, {}
    for architecture in ARCHITECTURES.values():
        try:
            sizes = architecture.sizes_in(shapes)
        except (KeyError, ValueError):
            continue
        head = shapes.get("head/bias", ())
        classes = head[0] if len(head) == 1 else 0
        return architecture, sizes | {"num_classes": classes}
    return None, {}


def _read_timm_config(path: Path) -> dict[str, Any]:
    """Reads the preprocessing from the config beside a timm file; empty without one.

    Raises:
        UserError: it cannot be read, or asks for unsupported preprocessing.
    """
    if not path.is_file():
        return {}
    try:
        config = read_json(path)
        config = config.get("pretrained_cfg") or config
        mean, std = (tuple(map(float, config.get(key, (0.5,) * 3))) for key in ("mean", "std"))
        value_range = (0 - mean[0]) / std[0], (1 - mean[0]) / std[0]
        bicubic = config.get("interpolation", "bicubic") == "bicubic"
        crop_share = float(config.get("crop_pct", TIMM_CROP_SHARE))
        if not -math.inf < value_range[0] < value_range[1] < math.inf:
            raise ValueError(f"mean {mean[0]}, std {std[0]}")
    except (OSError, ValueError, AttributeError, TypeError, IndexError, ArithmeticError) as error:
        raise UserError(f"{path}: no configuration as timm writes it ({error}).") from error
    if len({*mean}) != 1 or len({*std}) != 1:
        raise UserError(
            f"{path}: these weights see colour channels in ranges of their own (mean {mean}, std "
            f"{std}), which is not supported."
        )
    if crop_share != TIMM_CROP_SHARE:
        say(f"Note: {path} asks for crop_pct {crop_share}; the preset keeps {TIMM_CROP_SHARE}.")
    return dict(value_range=value_range, eval_preset="timm" if bicubic else "resmall_crop")


def _check_shapes(path: Path, there: Mapping[str, tuple], spec: ModelSpec) -> None:
    """Checks names and shapes against the model of these sizes."""
    check_shapes(path, there, expected_params(spec.create_model(), spec.image_size), spec.TITLE)


def _unknown(path: Path, file: WeightFile) -> UserError:
    some = ", ".join(list(file.headers)[:3]) or "nothing"
    titles = ", ".join(architecture.TITLE for architecture in ARCHITECTURES.values())
    return UserError(
        f"{path}: these are no weights of a model of this project, of which there are {titles}, "
        "neither in Google's layouts (for a Mixer stem/kernel, MixerBlock_0/token_mixing/Dense_0/"
        "kernel) nor, for MLPs, in timm's (blocks.0.mlp_tokens.fc1.weight, blocks.0.mlp_channels."
        f"gate.proj.weight); the file holds {some} ..."
    )
