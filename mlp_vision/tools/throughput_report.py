"""Throughput reports: a Markdown table with a row per step, and a JSON line per model."""

import json
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict
from tqdm import tqdm

from mlp_core.errors import UserError
from mlp_core.planning.chips import MIB
from mlp_core.process.console import say
from mlp_core.process.files import write_whole
from mlp_core.runs.tables import markdown_head, markdown_row
from mlp_vision.tools.throughput import FORWARD, STEPS, ModelThroughput, StepThroughput, throughput

HEAD = (
    *("model", "parameters", "step", "images/s a device", "ms a step", "arguments, MiB"),
    *("temporaries, MiB", "GFLOP an image", "TFLOP/s", "paper, images/s a core of TPU v3"),
)


def tell_throughput(
    models: Sequence[str],
    open_recipe: Callable[[str], ConfigDict],
    step_names: Sequence[str],
    output: Path | None,
) -> list[dict[str, Any]]:
    """Measures models one at a time and reports each when done.

    Args:
      models: see `models.MODELS`.
      open_recipe: returns the experiment to measure a model in.
      step_names: some of `STEPS`.
      output: a file for one JSON line per model, written as it is measured.

    Returns the content of these lines.

    Raises:
        UserError: a step is unknown, or a model cannot run here.
    """
    if unknown := [name for name in step_names if name not in STEPS]:
        raise UserError(f"--steps: there is no step {unknown[0]!r}; it is {' or '.join(STEPS)}.")
    if not models or not step_names:
        raise UserError(f"name some --models, and some --steps of {', '.join(STEPS)}.")
    say(heading())
    say(markdown_head(HEAD))
    told = []
    if output:
        write_whole(output, "")
    for model in tqdm(models, unit="model", disable=None):
        config = open_recipe(model)
        measured = throughput(config, tuple(step_names))
        told.append(figures(measured))
        for row in rows(measured):
            say(row)
        if output:
            write_whole(output, "".join(json.dumps(line) + "\n" for line in told))
    return told


def heading() -> str:
    """Returns a line with devices and versions."""
    devices = jax.devices()
    names = ", ".join(f"{name} {version(name)}" for name in ("jax", "jaxlib", "flax"))
    several = "s" if len(devices) > 1 else ""
    return f"{len(devices)} device{several} of {devices[0].device_kind}; {names}"


def figures(measured: ModelThroughput) -> dict[str, Any]:
    """Returns all measurements, JSON-serializable; bytes, seconds and rates are per device."""
    run, devices = measured.run, jax.devices()
    return {
        "model": run.settings.model.name,
        "parameters": measured.parameters,
        "image_size": run.task.spec.image_size,
        "num_classes": run.task.spec.num_classes,
        "compute_dtype": str(run.task.model.dtype),
        "device_kind": devices[0].device_kind,
        "num_devices": len(devices),
        "python": sys.version.split()[0],
        **{name: version(name) for name in ("jax", "jaxlib", "flax")},
        **{name: _step_figures(step) for name, step in measured.steps.items()},
        "paper_images_per_core_second": run.paper.examples_per_core_second,
    }


def _step_figures(step: StepThroughput) -> dict[str, Any]:
    turns = step.turns
    return {
        "batch_size": step.images,
        "fits": step.cost.fits,
        "images_per_second": step.images_per_second,
        "seconds": turns and turns.median,
        "seconds_of_turns": turns and list(turns.seconds),
        "steps_of_a_turn": turns and turns.calls,
        "compile_seconds": step.cost.compile_seconds,
        "argument_bytes": step.argument_bytes,
        "temporary_bytes": step.temporary_bytes,
        "memory": dict(step.cost.memory),
        "compiler_flops": step.compiler_flops,
        "matmul_flops": step.cost.flops,
    }


def rows(measured: ModelThroughput) -> list[str]:
    """Returns a table row for each step."""
    name, paper = measured.run.settings.model.name, measured.run.paper.examples_per_core_second
    return [
        markdown_row(
            [
                *(name, f"{measured.parameters:,}", step_name),
                *_speed(step),
                f"{step.argument_bytes / MIB:,.0f}",
                "" if step.temporary_bytes is None else f"{step.temporary_bytes / MIB:,.0f}",
                *_arithmetic(step),
                f"{paper:,.0f}" if paper and step_name == FORWARD else "",
            ]
        )
        for step_name, step in measured.steps.items()
    ]


def _speed(step: StepThroughput) -> list[str]:
    if step.turns is None:
        return ["does not fit", ""]
    return [f"{step.images_per_second:,.1f}", f"{1e3 * step.turns.median:,.1f}"]


def _arithmetic(step: StepThroughput) -> list[str]:
    """Formats FLOPs as counted by the compiler, or of the matrix products if it has no count."""
    flops = step.compiler_flops or step.cost.flops
    a_second = f"{flops / step.turns.median / 1e12:,.2f}" if step.turns else ""
    return [f"{flops / step.images / 1e9:,.2f}", a_second]
