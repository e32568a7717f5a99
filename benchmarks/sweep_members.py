"""Seconds from the start of a sweep's member to the end of its first training step.

Sweeps over the learning rate, with the digits as data and an empty program cache at first. The
members share a program, so only the first compiles it. A member starts when its heading is printed
and has made a step when its line is; between them it reads the digits (0.2 s) and evaluates its
random parameters once.

`small` is the model of configs/mixer_digits.py; `coursework` is as large as that of
configs/mixer_cifar10_scratch.py, with 64 tokens of one pixel each.

    python benchmarks/sweep_members.py
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from report import print_report, summary

ROOT = Path(__file__).resolve().parent.parent
CONFIG = "configs/mixer_digits.py"
MODELS = {
    "small": {},
    "coursework": {
        "patch_size": 1,
        "hidden_dim": 256,
        "num_blocks": 8,
        "tokens_mlp_dim": 256,
        "channels_mlp_dim": 1024,
    },
}
PHASES = {  # How the line begins that ends each phase.
    "process_data": "Start:",
    "initial_parameters": "Devices:",
    "training_step_compiled": "Compiled the training step",
    "first_evaluation": "step 0:",
    "first_step": "step 1/",
}


def main() -> None:
    """Measures and prints the report."""
    options = _parse_options()
    figures = {model: _figures(_members(model, options.members)) for model in options.models}
    print_report("sweep_members", figures, {"config": CONFIG, "members": options.members})


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="shows that it runs")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--members", type=int, default=8, help="of each sweep")
    options = parser.parse_args()
    if options.quick:
        options.models, options.members = ["small"], 2
    return options


def _figures(members: list[dict[str, float]]) -> dict[str, object]:
    first, *later = members
    return {
        "first_seconds": round(sum(first.values()), 2),
        "later_seconds": summary([sum(member.values()) for member in later]),
        "later_phases": {
            phase: round(statistics.median(member[phase] for member in later), 2)
            for phase in PHASES
        },
    }


def _members(model: str, count: int) -> list[dict[str, float]]:
    """Runs a sweep of two steps each; the seconds of each phase of each member."""
    rates = ",".join(str(0.001 * (i + 1)) for i in range(count))
    fields = {
        "train.duration": "2 steps",
        "schedule.warmup": "1 step",
        "log.every": "1 step",
        **{f"model.{field}": value for field, value in MODELS[model].items()},
    }
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "XDG_CACHE_HOME": f"{folder}/cache",
            "TFDS_DATA_DIR": f"{folder}/data",
        }
        environment.pop("JAX_COMPILATION_CACHE_DIR", None)
        command = [
            *(sys.executable, "-u", "launch/sweep.py", f"--config={CONFIG}"),
            *(f"--workdir={folder}/sweep", f"--grid=schedule.peak_learning_rate={rates}"),
            *(f"--config.{field}={value}" for field, value in fields.items()),
        ]
        with subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,  # Not a terminal, so that reports are lines and not a bar.
            text=True,
        ) as sweep:
            return _read_members(sweep, count)


def _read_members(sweep: subprocess.Popen, count: int) -> list[dict[str, float]]:
    output, members, started = [], [], 0.0
    for line in sweep.stdout:
        output.append(line)
        if line.startswith("member "):
            members.append({})
            started = time.perf_counter()
            waiting_for = list(PHASES)
        elif members and waiting_for and line.startswith(PHASES[waiting_for[0]]):
            now = time.perf_counter()
            members[-1][waiting_for.pop(0)] = now - started
            started = now
    if sweep.wait() or len(members) != count or any(len(m) != len(PHASES) for m in members):
        raise RuntimeError(f"the sweep did not come to its end:\n{''.join(output)}")
    return members


if __name__ == "__main__":
    main()
