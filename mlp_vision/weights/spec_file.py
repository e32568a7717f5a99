"""Descriptions of models in files: `model.json` of a run, the metadata of weight files."""

from collections.abc import Mapping
from pathlib import Path

import pydantic

from mlp_core.errors import UserError
from mlp_core.process.files import parse_json, read_text
from mlp_vision.models.model_spec import ModelSpec
from mlp_vision.models.registry import ARCHITECTURES

METADATA_KEY = "all_mlp_model"  # In weight files.


def read_spec(file: Path) -> ModelSpec:
    """Reads the description of a run's model.

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
    """Reads what `ModelSpec.to_json` wrote.

    Raises:
        UserError: it is something else; names `origin`.
    """
    try:
        values = parse_json(text)
        # Descriptions older than gMLP here name no architecture.
        architecture = ARCHITECTURES[values.get("architecture", "mixer")]
        return pydantic.TypeAdapter(architecture).validate_json(text)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
    raise UserError(f"{origin}: does not describe a model of this project ({reason}).")


def metadata_of(spec: ModelSpec) -> Mapping[str, str]:
    """What an exported weight file says about its model."""
    return {METADATA_KEY: spec.to_json()}
