"""Images or sequences a second beside PyTorch, on the CPU or GPU that is here.

Forward: the logits of a batch. Training: gradient of the cross entropy and a step of SGD with
momentum, or, of the small models in `bare_model.py`, of AdamW. The batch is random and stays on the
device. PyTorch's models are timm's and, of text, `torch_gmlp.py`; `eager` is as they are,
`compiled` by `torch.compile`. `plain` is ours without the options of
`mlp_core.process.compilation`. Parameters are float32; in bfloat16 ours computes with bfloat16
activations, and PyTorch under `torch.autocast`.

Each is a process of its own; they take turns, and ratios are of neighbours in time. `share` is what
our matrix products have of the rate that one product of large square matrices has in turns with
them.

    python benchmarks/against_pytorch.py --models mixer_b16 --dtypes float32
    python benchmarks/against_pytorch.py --models mixer_small mixer_coursework gmlp_cifar \\
        gmlp_text_small amlp_text_small --dtypes float32 --steps training --batch_size 64
    python benchmarks/against_pytorch.py --torch_python=other/bin/python  # Where PyTorch is.
"""

import argparse
import itertools
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from turns import Server, serve

OURS, PLAIN, EAGER, COMPILED, PRODUCT = "ours", "plain", "eager", "compiled", "product"
TORCH = (EAGER, COMPILED)
PEERS = (PLAIN, *TORCH)
TIMM = {"mixer_s32": "mixer_s32_224", "mixer_b16": "mixer_b16_224", "mixer_l16": "mixer_l16_224",
        "gmlp_s16": "gmlp_s16_224"}  # fmt: skip
TEXT = ("gmlp_l18", "gmlp_l36")
SMALL_IMAGES = ("mixer_small", "mixer_coursework", "gmlp_cifar")
SMALL_TEXT = ("gmlp_text_small", "amlp_text_small")
STEPS, DTYPES = ("forward", "training"), ("float32", "bfloat16")
WARM_UP_CALLS = 2
PRODUCT_SIZES = {"cpu": 2048, "gpu": 8192}


def main() -> None:
    """Measures all cases, and prints the report."""
    options = _parse_options()
    if options.road:
        serve(lambda: _start(options))
        return
    from report import print_report, summary  # Not in PyTorch's processes: it needs JAX.

    figures = {}
    for model, step, dtype in itertools.product(options.models, options.steps, options.dtypes):
        turns = _in_turns(model, step, dtype, options)
        told = {road: summary([turn[road] for turn in turns]) for road in turns[0]}
        for peer in PEERS:
            if peer in turns[0]:
                told[f"ours_over_{peer}"] = summary([turn[OURS] / turn[peer] for turn in turns])
        told["share"] = summary([turn["flops"] / turn[PRODUCT] for turn in turns])
        figures[f"{model}_{step}_{dtype}"] = told
        print(f"{model} {step} {dtype}: {told}", file=sys.stderr, flush=True)
    sizes = {name: value for name, value in vars(options).items() if name not in ("road", "quick")}
    print_report("against_pytorch", figures, sizes)


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small numbers: shows that it runs")
    parser.add_argument("--models", nargs="+", default=["mixer_b16", "gmlp_s16", "gmlp_l36"],
                        choices=[*TIMM, *TEXT, *SMALL_IMAGES, *SMALL_TEXT])  # fmt: skip
    parser.add_argument("--steps", nargs="+", default=STEPS, choices=STEPS)
    parser.add_argument("--dtypes", nargs="+", default=DTYPES, choices=DTYPES)
    parser.add_argument("--peers", nargs="*", default=PEERS, choices=PEERS)
    parser.add_argument("--torch_python", default=sys.executable, help="a Python with PyTorch")
    parser.add_argument("--batch_size", type=int, default=16, help="examples; a GPU wants 256")
    parser.add_argument("--turn_seconds", type=float, default=5.0, help="at least")
    parser.add_argument("--repetitions", type=int, default=5, help="turns of each")
    parser.add_argument("--road", help=argparse.SUPPRESS)  # In the measuring processes.
    options = parser.parse_args()
    if options.quick:
        options.models, options.steps, options.dtypes = ["mixer_s32"], ["forward"], ["float32"]
        options.batch_size, options.turn_seconds, options.repetitions = 1, 0.1, 1
        options.peers = [EAGER]
    return options


def _in_turns(
    model: str, step: str, dtype: str, options: argparse.Namespace
) -> list[dict[str, float]]:
    """Examples a second of each road in each turn, and what our products make of them."""
    servers = {}
    for road in (OURS, PRODUCT, *options.peers):
        python = options.torch_python if road in TORCH else sys.executable
        command = [python, __file__, f"--road={road}", "--models", model, "--steps", step]
        command += ["--dtypes", dtype, f"--batch_size={options.batch_size}"]
        command += [f"--turn_seconds={options.turn_seconds}"]
        # All of them have the same GPU.
        server = Server(command, XLA_PYTHON_CLIENT_PREALLOCATE="false")
        if server.works:
            servers[road] = server
    turns = []
    for _ in range(options.repetitions):
        measured = {road: server.measure() for road, server in servers.items()}
        per_second = {road: figures["per_second"] for road, figures in measured.items()}
        turns.append(per_second | {"flops": measured[OURS]["flops"]})
    for server in servers.values():
        server.end()
    return turns


def _start(options: argparse.Namespace) -> Callable[[], dict[str, float]]:
    """Starts a road; what it returns measures one turn."""
    (model,), (step,), (dtype,) = options.models, options.steps, options.dtypes
    start = {PRODUCT: _product, EAGER: _torch, COMPILED: _torch}.get(options.road, _ours)
    call, wait, count, flops = start(model, step, dtype, options)
    for _ in range(WARM_UP_CALLS):
        wait(call())

    def measure() -> dict[str, float]:
        calls, started = 0, time.perf_counter()
        while time.perf_counter() - started < options.turn_seconds:
            result = call()
            wait(result)
            calls += 1
        per_second = calls * count / (time.perf_counter() - started)
        return {"per_second": per_second, "flops": per_second * flops}

    return measure


def _ours(model: str, step: str, dtype: str, options: argparse.Namespace) -> tuple:
    """A call, what waits for its result, and how many examples of how many FLOPs it has."""
    import jax
    import jax.numpy as jnp
    from bare_model import (
        ADAMW,
        FORWARD,
        SGD,
        SMALL_MODELS,
        abstract_batch,
        abstract_state,
        made,
        model_and_example,
        program,
    )

    from mlp_core.distributed.mesh import make_mesh
    from mlp_core.planning.matmul_flops import matmul_flops
    from mlp_core.process.compilation import compiler_options
    from mlp_core.process.memory import keep_freed_blocks, keep_freed_memory

    keep_freed_memory()  # As the command does.
    module, example = model_and_example(model, jnp.dtype(dtype))
    batch = abstract_batch(example, options.batch_size)
    optimizer = ADAMW if model in SMALL_MODELS else SGD
    state = abstract_state(module, step, batch["inputs"], optimizer)
    compiling = {} if options.road == PLAIN else compiler_options(make_mesh())
    traced = program(module, step, compiling, optimizer).trace(state, batch)
    compiled = traced.lower().compile()
    if jax.default_backend() == "cpu":
        keep_freed_blocks(compiled.memory_analysis().temp_size_in_bytes)
    state, batch = made(state), made(batch)

    def call() -> Any:
        nonlocal state
        if step == FORWARD:
            return compiled(state, batch)
        state = compiled(state, batch)
        return state

    flops = matmul_flops(traced.jaxpr) / options.batch_size
    return call, jax.block_until_ready, options.batch_size, flops


def _product(model: str, step: str, dtype: str, options: argparse.Namespace) -> tuple:
    """A product of square matrices, whose examples are its FLOPs."""
    import jax
    import jax.numpy as jnp

    from mlp_core.distributed.mesh import make_mesh
    from mlp_core.process.compilation import compiler_options

    size = PRODUCT_SIZES["cpu" if jax.default_backend() == "cpu" else "gpu"]
    matrix = jnp.ones((size, size), jnp.dtype(dtype))
    product = jax.jit(jnp.matmul, compiler_options=compiler_options(make_mesh()))
    return lambda: product(matrix, matrix), jax.block_until_ready, 2 * size**3, 1


def _torch(model: str, step: str, dtype: str, options: argparse.Namespace) -> tuple:
    """The same of PyTorch, with its own defaults."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.set_float32_matmul_precision("high")
    module, inputs = _torch_module_and_inputs(model, options.batch_size)
    module, inputs = module.to(device), inputs.to(device)
    labels = torch.zeros(options.batch_size, dtype=torch.long, device=device)
    if model in (*SMALL_IMAGES, *SMALL_TEXT):
        optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3, weight_decay=0.1)
    else:
        optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9)
    forward = torch.compile(module) if options.road == COMPILED else module
    module.train(step == "training")
    autocast = torch.autocast(device, torch.bfloat16, enabled=dtype == "bfloat16")

    def infer() -> Any:
        with torch.inference_mode(), autocast:
            return forward(inputs)

    def train() -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast:
            logits = forward(inputs)
        torch.nn.functional.cross_entropy(logits.float(), labels).backward()
        optimizer.step()

    def wait(_: Any) -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    return infer if step == "forward" else train, wait, options.batch_size, 0


def _torch_module_and_inputs(model: str, batch_size: int) -> Sequence[Any]:
    import torch

    if model in (*TEXT, *SMALL_TEXT):
        from torch_gmlp import text_gmlp

        module, length = text_gmlp(model)
        return module, torch.zeros(batch_size, length, dtype=torch.long)
    if model in SMALL_IMAGES:
        from torch_small_images import small_image_model

        return small_image_model(model), torch.randn(batch_size, 3, 32, 32)
    import timm

    return timm.create_model(TIMM[model]), torch.randn(batch_size, 3, 224, 224)


if __name__ == "__main__":
    main()
