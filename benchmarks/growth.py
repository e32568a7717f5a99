"""How time and memory of a step grow with depth, width, batch, sequence length and resolution.

One size of a small model is varied at a time: the Mixer's depth, width, batch and number of
patches, and gMLP's number of patches and of tokens. Sizes take turns. An exponent is the slope of
the logarithm of the time, or of the matrix products, over that of the size, by least squares;
`last` is the slope between the two largest. The papers say: a Mixer is linear in the patches,
gMLP's spatial matrix quadratic in the tokens.

    python benchmarks/growth.py --output=growth.png
"""

import argparse
import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from bare_model import STEPS, abstract_batch, abstract_state, made, program, timed_turn
from report import print_report, summary

from mlp_core.distributed.mesh import make_mesh
from mlp_core.planning.matmul_flops import matmul_flops
from mlp_core.process.compilation import compiler_options
from mlp_core.process.figure_files import LINES, new_figure, styled, write
from mlp_core.process.memory import keep_freed_memory
from mlp_text.models.model_spec import GmlpEncoderSpec, TextModelSpec
from mlp_vision.models.registry import create_model

PATCH_SIZE, VOCAB_SIZE = 16, 1000
MIXER = dict(patch_size=PATCH_SIZE, hidden_dim=256, num_blocks=4, tokens_mlp_dim=128,
             channels_mlp_dim=1024)  # fmt: skip
GMLP = dict(patch_size=PATCH_SIZE, hidden_dim=64, num_blocks=4, ffn_dim=384)
TEXT = dict(vocab_size=VOCAB_SIZE, hidden_dim=64, num_blocks=4, ffn_dim=384)
PATCHES, BATCH = 64, 8  # Where neither is varied.

SIZES = {
    "mixer_depth": (2, 4, 8, 16),
    "mixer_width": (64, 128, 256, 512),
    "mixer_batch": (4, 8, 16, 32),
    "mixer_patches": (64, 144, 256, 576, 1024),
    "gmlp_patches": (64, 144, 256, 576, 1024),
    "gmlp_tokens": (128, 256, 512, 1024, 2048),
}


@dataclasses.dataclass(frozen=True)
class Case:
    """A step ready to be timed, and what it needs."""

    size: int
    call: Callable[[], Any]
    temporaries: float  # Bytes.
    flops: float  # Of matrix products.


def main() -> None:
    """Measures, draws and prints the report."""
    options = _parse_options()
    keep_freed_memory()  # As the command does.
    figures, drawn = {}, {}
    for axis in options.axes:
        for step in options.steps:
            cases = [_case(axis, size, step) for size in SIZES[axis][: options.most_sizes]]
            seconds = _in_turns(cases, options)
            drawn[f"{axis}, {step}"] = [case.size for case in cases], np.median(seconds, axis=0)
            figures[f"{axis}_{step}"] = told = _told(cases, seconds)
            print(f"{axis} {step}: {told}", file=sys.stderr, flush=True)
    if options.output:
        _draw(drawn, options.output)
    sizes = {"mixer": MIXER, "gmlp": GMLP, "patches": PATCHES, "batch": BATCH}
    print_report("growth", figures, sizes | {"repetitions": options.repetitions})


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small numbers: shows that it runs")
    parser.add_argument("--axes", nargs="+", default=[*SIZES], choices=[*SIZES])
    parser.add_argument("--steps", nargs="+", default=STEPS, choices=STEPS)
    parser.add_argument("--most_sizes", type=int, default=9, help="the smallest of each axis")
    parser.add_argument("--turn_seconds", type=float, default=1.0, help="about")
    parser.add_argument("--repetitions", type=int, default=5, help="turns of each size")
    parser.add_argument("--output", type=Path, help="PNG or SVG to draw")
    options = parser.parse_args()
    if options.quick:
        options.axes, options.steps, options.most_sizes = ["mixer_width"], ["forward"], 2
        options.turn_seconds, options.repetitions = 0.05, 1
    return options


def _case(axis: str, size: int, step: str) -> Case:
    module, example, batch_size = _model(axis, size)
    batch = abstract_batch(example, batch_size)
    state = abstract_state(module, step, batch["inputs"])
    traced = program(module, step, compiler_options(make_mesh())).trace(state, batch)
    compiled = traced.lower().compile()
    temporaries = compiled.memory_analysis().temp_size_in_bytes
    state, batch = made(state), made(batch)

    def call() -> Any:
        nonlocal state
        result = compiled(state, batch)
        if step == "training":
            state = result
        return result

    return Case(size, call, temporaries, matmul_flops(traced.jaxpr))


def _model(axis: str, size: int) -> tuple[nn.Module, jax.ShapeDtypeStruct, int]:
    """The model, an example's shape and the batch size where this size is varied."""
    kind, varied = axis.split("_")
    if varied == "tokens":
        encoder = GmlpEncoderSpec(max_length=size, **TEXT)
        spec = TextModelSpec(encoder=encoder, head="classification", num_classes=2)
        return spec.create_model(), jax.ShapeDtypeStruct((size,), jnp.int32), BATCH
    patches = size if varied == "patches" else PATCHES
    fields = dict(MIXER if kind == "mixer" else GMLP)
    if varied == "depth":
        fields["num_blocks"] = size
    elif varied == "width":  # All widths, the ratios kept.
        factor = size / fields["hidden_dim"]
        widths = ("hidden_dim", "tokens_mlp_dim", "channels_mlp_dim")
        fields |= {name: int(factor * fields[name]) for name in widths}
    side = PATCH_SIZE * int(patches**0.5)
    picture = jax.ShapeDtypeStruct((side, side, 3), jnp.float32)
    return create_model(kind, 10, **fields), picture, size if varied == "batch" else BATCH


def _in_turns(cases: Sequence[Case], options: argparse.Namespace) -> np.ndarray:
    """Seconds of a call, a row a turn and a column a size."""
    for case in cases:
        jax.block_until_ready(case.call())
    return np.array(
        [
            [timed_turn(case.call, options.turn_seconds) for case in cases]
            for _ in range(options.repetitions)
        ]
    )


def _told(cases: Sequence[Case], seconds: np.ndarray) -> dict[str, Any]:
    sizes, times = np.array([case.size for case in cases]), np.median(seconds, axis=0)
    products = np.array([case.flops for case in cases])
    return {
        "seconds": {
            str(size): summary(s.tolist()) for size, s in zip(sizes, seconds.T, strict=True)
        },
        "temporaries_mib": {str(c.size): round(c.temporaries / 2**20, 1) for c in cases},
        "exponent": _exponent(sizes, times),
        "exponent_last": _exponent(sizes[-2:], times[-2:]),
        "exponent_of_products": _exponent(sizes, products),
        "exponent_of_memory": _exponent(sizes, np.array([c.temporaries for c in cases])),
    }


def _exponent(sizes: np.ndarray, values: np.ndarray) -> float:
    return round(float(np.polyfit(np.log(sizes), np.log(values), 1)[0]), 2)


def _draw(curves: Mapping[str, tuple[Sequence[int], np.ndarray]], output: Path) -> None:
    with styled():
        figure = new_figure(4)
        axes = figure.subplots()
        for i, (label, (sizes, times)) in enumerate(curves.items()):
            slope = _exponent(np.array(sizes), times)
            look = {"color": LINES[i // 2 % len(LINES)], "ls": "-" if i % 2 else "--"}
            axes.loglog(sizes, times, marker="o", ms=3, label=f"{label}: {slope}", **look)
        axes.set(xlabel="size", ylabel="seconds a step")
        axes.grid(alpha=0.3)
        figure.legend(loc="outside right upper", handlelength=4)
    write(figure, output)


if __name__ == "__main__":
    main()
