"""Forward and training steps for a TPU that is not there, by its compiler's estimate of cycles.

One core, no data: the model's forward pass, and a step of SGD with momentum on cross entropy. Ours
computes in bfloat16 with float32 parameters; the reference is the published program of MLP-Mixer
(`published_mixer.py`), whose matrix products are of bfloat16 factors on TPUs, too. `at_peak` is
what the matrix products alone would take. Estimates do not vary, so that each is made once.

    python benchmarks/tpu_cycles.py --topology=v3:2x2

The compiler is libtpu (pip install -e ".[tpu]"); without it --quick compiles for this machine.
"""

import argparse
import contextlib
import functools
import sys
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from bare_model import (
    NUM_CLASSES,
    STEPS,
    abstract_batch,
    abstract_state,
    model_and_example,
    program,
)
from compiled_devices import devices_to_compile_for
from published_mixer import PublishedMixer
from report import print_report

from mlp_core.distributed.mesh import make_mesh, replicated
from mlp_core.planning.chips import GIB, Chip, compiler_version
from mlp_core.planning.step_cost import StepCost, compile_step
from mlp_vision.models.registry import find_model

MODELS = ("mixer_s32", "mixer_b16", "mixer_l16", "gmlp_s16", "gmlp_l36")


def main() -> None:
    """Compiles all programs and prints the report."""
    options = _parse_options()
    devices, chip = devices_to_compile_for(options.topology)
    figures = {}
    with contextlib.redirect_stdout(sys.stderr):
        for name in options.models:
            for step in options.steps:
                figures[f"{name}_{step}"] = _compared(name, step, devices[0], chip, options)
                print(f"{name} {step}: {figures[f'{name}_{step}']}", flush=True)
    sizes = vars(options) | {"compiler": compiler_version() if chip else "of JAX"}
    print_report("tpu_cycles", figures, sizes)


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small model, for this machine")
    parser.add_argument("--topology", default="v3:2x2", help="as of launch/plan.py")
    parser.add_argument("--batch_size", type=int, default=64, help="examples of the core")
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--steps", nargs="+", default=STEPS, choices=STEPS)
    options = parser.parse_args()
    if options.quick:
        options.topology, options.batch_size = "cpu", 1
        options.models, options.steps = ["mixer_s32"], ["forward"]
    return options


def _compared(
    name: str, step: str, device: jax.Device, chip: Chip | None, options: argparse.Namespace
) -> dict[str, Any]:
    """Ours, the reference where there is one, and the limit, in millions of cycles."""
    compiled = functools.partial(_compile, step, device, chip, options.batch_size)
    ours, example = model_and_example(name, jnp.bfloat16)
    cost = compiled(ours, example)
    told = {"ours": _millions(cost, chip), "temporaries_gib": _gib(cost)}
    if chip:
        told["at_peak"] = _round(cost.flops / chip.peak_flops * chip.clock / 1e6)
    if name.startswith("mixer"):
        _, sizes = find_model(name)
        reference = compiled(PublishedMixer(NUM_CLASSES, **sizes), example)
        told |= {"reference": _millions(reference, chip), "reference_gib": _gib(reference)}
        if chip:
            told["ratio"] = _round(told["ours"] / told["reference"])
    return told


def _compile(
    step: str,
    device: jax.Device,
    chip: Chip | None,
    batch_size: int,
    module: nn.Module,
    example: jax.ShapeDtypeStruct,
) -> StepCost:
    here = replicated(make_mesh(devices=[device]))

    def placed(tree: Any) -> Any:
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), tree)

    batch = abstract_batch(example, batch_size)
    state = abstract_state(module, step, batch["inputs"])
    limit = chip.hbm_bytes if chip else None
    return compile_step(program(module, step, {}), (placed(state), placed(batch)), 1, limit)


def _millions(cost: StepCost, chip: Chip | None) -> float | None:
    return _round(cost.seconds(chip) * chip.clock / 1e6) if chip and cost.program else None


def _gib(cost: StepCost) -> float | None:
    activations = cost.memory.get("activations")
    return None if activations is None else round(activations / GIB, 2)


def _round(value: float) -> float:
    return float(f"{value:.4g}")


if __name__ == "__main__":
    main()
