"""Exports trained models: Google's npz layout, timm's safetensors, StableHLO."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.export
import jax.numpy as jnp
import jaxlib

from mlp_core.errors import UserError
from mlp_core.nn.parameters import flatten
from mlp_core.process import files
from mlp_core.process.console import say
from mlp_core.weights import npz
from mlp_core.weights.files import write_weight_file
from mlp_vision.models.mixer import MixerSpec
from mlp_vision.models.model_spec import ModelSpec
from mlp_vision.models.weight_layouts import to_timm
from mlp_vision.tasks.classification import eval_view, probabilities, view_logits
from mlp_vision.weights.loading import Weights, metadata_of
from mlp_vision.weights.pretrained import load_params

PLATFORMS = ("cpu", "cuda", "tpu")


def export(weights: Weights, spec: ModelSpec, output: Path) -> None:
    """Writes `weights` adapted to `spec`, in the format of the suffix.

    `.npz`: arrays under this project's names, for a Mixer those of Google's files; `.safetensors`:
    timm's names. Both also hold `spec`, which other programs ignore. `.stablehlo`: a program, see
    `to_stablehlo`, with `spec` and JAX versions in `.stablehlo.json` beside it.

    Raises:
        UserError: see `check_output`; the weights cannot be read, or timm has no such model.
    """
    check_output(output)
    params = load_params(weights, spec, head="auto")
    FORMATS[output.suffix](output, spec, params)
    say(f"Wrote {output} ({output.stat().st_size / 2**20:.1f} MiB)")


def check_output(output: Path) -> None:
    """Checks the output before weights are fetched.

    Raises:
        UserError: see `files.check_output`; or the description exists already.
    """
    files.check_output(output, tuple(FORMATS))
    files.check_output(_description(output))


def to_stablehlo(spec: ModelSpec, params) -> bytearray:
    """Serializes the model as a program with its preprocessing and parameters.

    It maps uint8 images [B, H, W, 3] of any B, H and W to {"logits", "probabilities"}, float32
    [B, K] each, on CPUs, GPUs and TPUs: `jax.export.deserialize(program).call(images)`. Without
    a head it returns {"features"}, float32 [B, C].
    """
    model = spec.create_model()

    def program(images):
        out = view_logits(spec, model, params, eval_view(spec, images))
        if spec.num_classes == 0:
            return {"features": out}
        return {"logits": out, "probabilities": probabilities(spec, out)}

    shape = jax.export.symbolic_shape("b, h, w, 3")
    pictures = jax.ShapeDtypeStruct(shape, jnp.uint8)
    return jax.export.export(jax.jit(program), platforms=PLATFORMS)(pictures).serialize()


def _write_npz(output: Path, spec: ModelSpec, params) -> None:
    metadata = metadata_of(spec)
    if not npz.holds_metadata(metadata):
        metadata = metadata_of(dataclasses.replace(spec, class_names=()))
        say("Note: the names of so many classes do not fit into an npz file; they are left out.")
    write_weight_file(output, flatten(params), metadata)
    if isinstance(spec, MixerSpec) and spec.gelu != "tanh":
        say("Note: Google's code computes with the tanh form of GELU, this model with erf.")


def _write_safetensors(output: Path, spec: ModelSpec, params) -> None:
    call = spec.in_timm()
    write_weight_file(output, to_timm(spec.BLOCK, flatten(params)), metadata_of(spec))
    say(f"In timm: {call}")
    for field, value in spec.TIMM_NUMERICS.items():
        if field.endswith("epsilon") and getattr(spec, field) != value:
            say(f"Note: timm computes with {field}={value}, this model {getattr(spec, field)}.")


def _write_stablehlo(output: Path, spec: ModelSpec, params) -> None:
    program = to_stablehlo(spec, params)
    try:
        with files.whole_output(output) as part:
            part.write_bytes(program)
            files.write_whole(_description(output), _described(spec))
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror or error}).") from error


def _described(spec: ModelSpec) -> str:
    """Returns `spec` as JSON, with the versions that decide which JAX can read the program."""
    versions = {
        "jax": jax.__version__,
        "jaxlib": jaxlib.__version__,
        "calling_convention": jax.export.maximum_supported_calling_convention_version,
    }
    described = json.loads(spec.to_json()) | {"exported_with": versions}
    return json.dumps(described, ensure_ascii=False) + "\n"


def _description(output: Path) -> Path:
    """Returns the path of an exported program's description."""
    return output.with_name(f"{output.name}.json")


FORMATS = {
    ".npz": _write_npz,
    ".safetensors": _write_safetensors,
    ".stablehlo": _write_stablehlo,
}
