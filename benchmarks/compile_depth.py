"""How long the training step takes to compile by the depth of the model.

A gMLP for masked language modelling, trained by AdamW: forward and backward pass and update are
traced, lowered and compiled for this machine's devices, from no cache. Shapes are all that is
needed, so nothing is computed. With `config.train.scan_layers` the time should not grow with the
depth; without it, it does. The depths alternate, and with them scanned and not. `initial` is the
same for the program that draws the initial state.

    python benchmarks/compile_depth.py
"""

import argparse
import contextlib
import sys
import time
from collections import defaultdict

import jax
import jax.numpy as jnp
from report import print_report, summary

from configs import text_common
from mlp_core.config import parse_config
from mlp_core.distributed.mesh import batch_sharding, make_mesh
from mlp_core.train.durations import Plan
from mlp_core.train.programs import make_programs
from mlp_text.models.model_spec import GmlpEncoderSpec, TextModelSpec
from mlp_text.tasks.config import TextConfig
from mlp_text.tasks.masked_lm import MaskedLanguageModelling
from mlp_text.tasks.masking import Masking

VOCAB_SIZE, PAD_ID, MASK_ID = 1000, 0, 1


def main() -> None:
    """Measures and prints the report."""
    options = _parse_options()
    jax.config.update("jax_enable_compilation_cache", False)
    depths, unscanned = options.depths, options.unscanned_depths
    cases = [(depth, True) for depth in depths] + [(depth, False) for depth in unscanned]
    seconds = defaultdict(list)
    with contextlib.redirect_stdout(sys.stderr):
        _measure(2, True, options)  # The first compilation of a process sets things up.
        for _ in range(options.repetitions):
            for depth, scanned in cases:
                for program, taken in _measure(depth, scanned, options).items():
                    name = f"{program}_{'scanned' if scanned else 'unscanned'}_{depth}"
                    seconds[name].append(taken)
                    print(f"{name}: {taken:.2f} s", flush=True)
    figures = {f"{name}_seconds": summary(values) for name, values in seconds.items()}
    for program in ("step", "initial"):
        deepest, shallowest = (seconds[f"{program}_scanned_{d}"] for d in (depths[-1], depths[0]))
        ratios = [deep / shallow for deep, shallow in zip(deepest, shallowest, strict=True)]
        figures[f"{program}_scanned_deepest_over_shallowest"] = summary(ratios)
    print_report("compile_depth", figures, vars(options))


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small numbers: shows that it runs")
    parser.add_argument("--depths", type=int, nargs="+", default=[12, 36, 144], help="scanned")
    parser.add_argument("--unscanned_depths", type=int, nargs="*", default=[12, 36, 72])
    parser.add_argument("--hidden_dim", type=int, default=64, help="width of the gMLP")
    parser.add_argument("--max_length", type=int, default=64, help="tokens of a sequence")
    parser.add_argument("--remat", default="none", choices=["none", "blocks", "dots"])
    parser.add_argument("--repetitions", type=int, default=5, help="of every depth")
    options = parser.parse_args()
    if options.quick:
        options.depths, options.unscanned_depths, options.repetitions = [2, 4], [2], 1
        options.hidden_dim = options.max_length = 16
    return options


def _measure(depth: int, scanned: bool, options: argparse.Namespace) -> dict[str, float]:
    """Seconds to compile the training step, and the program that makes the initial state."""
    jax.clear_caches()
    mesh = make_mesh()
    config = text_common.masked_lm()
    config.train.duration = "10 steps"
    config.train.global_batch_size = 4 * mesh.size
    config.optimizer.weight_decay = 0.01
    settings = parse_config(TextConfig, config)
    task = _task(depth, scanned, options)
    programs = make_programs(task, settings, Plan.of(settings, num_examples=1000), mesh)
    shape = (settings.train.global_batch_size, options.max_length)
    ids = jax.ShapeDtypeStruct(shape, jnp.int32, sharding=batch_sharding(mesh))
    return {
        "step": _seconds_to_compile(
            programs.train_step,
            programs.abstract_state,
            programs.numbers,
            {"input_ids": ids},
        ),
        "initial": _seconds_to_compile(programs.create_random, jax.random.key(0)),
    }


def _seconds_to_compile(program, *arguments) -> float:
    started = time.perf_counter()
    program.lower(*arguments).compile()
    return time.perf_counter() - started


def _task(depth: int, scanned: bool, options: argparse.Namespace) -> MaskedLanguageModelling:
    encoder = GmlpEncoderSpec(
        vocab_size=VOCAB_SIZE,
        hidden_dim=options.hidden_dim,
        num_blocks=depth,
        ffn_dim=4 * options.hidden_dim,
        max_length=options.max_length,
    )
    spec = TextModelSpec(encoder=encoder, head="masked_lm")
    model = spec.create_model(scan_layers=scanned, remat=options.remat)
    masking = Masking(VOCAB_SIZE, MASK_ID, [PAD_ID], num_slots=4)
    return MaskedLanguageModelling(model, masking, PAD_ID, options.max_length, [], {})


if __name__ == "__main__":
    main()
