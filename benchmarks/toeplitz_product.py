"""The spatial product of tMLP by three roads: Toeplitz matrix, FFT, and full matrix of gMLP.

`toeplitz` is what the models do: the matrix is made of its vector and multiplied. `fft` takes both
to frequencies, padded to twice the tokens. `full` has a parameter for each pair of tokens. Forward
alone, and with the gradients of weights and activations. Shapes: activations [1, n, channels].

    python benchmarks/toeplitz_product.py
    python benchmarks/toeplitz_product.py --topology=v3:2x2  # The compiler's cycles, of a TPU.
"""

import argparse
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from bare_model import FORWARD, STEPS, made, timed_turn
from compiled_devices import devices_to_compile_for
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from report import print_report, summary

from mlp_core.nn.spatial_gating import toeplitz_matrix
from mlp_core.planning.step_cost import compile_step

TOEPLITZ, FFT, FULL = "toeplitz", "fft", "full"


def main() -> None:
    """Measures and prints the report."""
    options = _parse_options()
    measure = _on_this_machine if options.topology == "here" else _cycles
    figures = {}
    for step in options.steps:
        for tokens in options.tokens:
            figures[f"{step}_{tokens}"] = told = measure(step, tokens, options)
            print(f"{step} {tokens}: {told}", file=sys.stderr, flush=True)
    print_report("toeplitz_product", figures, vars(options))


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small numbers: shows that it runs")
    parser.add_argument("--topology", default="here", help="or a TPU's, as of launch/plan.py")
    parser.add_argument("--tokens", type=int, nargs="+", default=[128, 256, 512, 1024, 2048, 4096])
    parser.add_argument("--channels", type=int, default=768, help="that are gated")
    parser.add_argument("--steps", nargs="+", default=STEPS, choices=STEPS)
    parser.add_argument("--turn_seconds", type=float, default=0.5, help="about")
    parser.add_argument("--repetitions", type=int, default=5, help="turns of each road")
    options = parser.parse_args()
    if options.quick:
        options.tokens, options.channels, options.repetitions = [16], 8, 1
        options.turn_seconds = 0.01
    return options


def _by_matrix(vector: jax.Array, x: jax.Array) -> jax.Array:
    return _by_full(toeplitz_matrix(vector), x)


def _by_full(matrix: jax.Array, x: jax.Array) -> jax.Array:
    return jnp.einsum("ij,bjg->big", matrix, x)


def _by_fft(vector: jax.Array, x: jax.Array) -> jax.Array:
    n = x.shape[1]
    # y[i] = sum_j w[n - 1 + j - i] x[j]: a circular correlation over 2 n places.
    kernel = jnp.roll(jnp.pad(vector[::-1], (0, 1)), 1 - n)
    frequencies = jnp.fft.rfft(kernel)[None, :, None] * jnp.fft.rfft(x, 2 * n, axis=1)
    return jnp.fft.irfft(frequencies, 2 * n, axis=1)[:, :n]


ROADS = {TOEPLITZ: _by_matrix, FFT: _by_fft, FULL: _by_full}


def _program(road: str, step: str) -> Callable:
    product = ROADS[road]

    def backward(weights, batch):
        output, gradients = jax.vjp(product, weights, batch["x"])
        return gradients(output)

    return jax.jit(
        (lambda weights, batch: product(weights, batch["x"])) if step == FORWARD else backward
    )


def _shapes(road: str, tokens: int, channels: int) -> tuple[Any, dict[str, Any]]:
    weights = (tokens, tokens) if road == FULL else (2 * tokens - 1,)
    x = jax.ShapeDtypeStruct((1, tokens, channels), jnp.float32)
    return jax.ShapeDtypeStruct(weights, jnp.float32), {"x": x}


def _on_this_machine(step: str, tokens: int, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds by road, in turns, and the others over `toeplitz`."""
    calls = {}
    for road in ROADS:
        weights, batch = (made(shapes) for shapes in _shapes(road, tokens, options.channels))
        call = _program(road, step).lower(weights, batch).compile()
        calls[road] = lambda call=call, weights=weights, batch=batch: call(weights, batch)
        jax.block_until_ready(calls[road]())
    outputs = [np.asarray(jax.tree.leaves(calls[road]())[-1]) for road in (TOEPLITZ, FFT)]
    np.testing.assert_allclose(*outputs, atol=1e-3 * np.abs(outputs[0]).max())
    turns = [
        {road: timed_turn(call, options.turn_seconds) for road, call in calls.items()}
        for _ in range(options.repetitions)
    ]
    told = {f"{road}_seconds": summary([turn[road] for turn in turns]) for road in ROADS}
    for road in (FFT, FULL):
        told[f"{road}_over_toeplitz"] = summary([turn[road] / turn[TOEPLITZ] for turn in turns])
    return told


def _cycles(step: str, tokens: int, options: argparse.Namespace) -> dict[str, Any]:
    """Thousands of cycles by road, as the compiler estimates them."""
    devices, chip = devices_to_compile_for(options.topology)
    here = NamedSharding(Mesh(np.array(devices[:1]), ("data",)), PartitionSpec())
    told = {}
    for road in ROADS:
        weights, batch = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here),
            _shapes(road, tokens, options.channels),
        )
        cost = compile_step(_program(road, step), (weights, batch), 1)
        told[road] = round(cost.seconds(chip) * chip.clock / 1e3, 1)
    return told


if __name__ == "__main__":
    main()
