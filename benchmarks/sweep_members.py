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
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from report import print_report, summary
from run_phases import PHASES, PhaseTimer, start_command

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
        arguments = [
            *("launch/sweep.py", f"--config={CONFIG}", f"--workdir={folder}/sweep"),
            f"--grid=schedule.peak_learning_rate={rates}",
            *(f"--config.{field}={value}" for field, value in fields.items()),
        ]
        with start_command(arguments, Path(folder, "cache"), Path(folder, "data")) as sweep:
            return _read_members(sweep, count)


def _read_members(sweep: subprocess.Popen, count: int) -> list[dict[str, float]]:
    output: list[str] = []
    members: list[PhaseTimer] = []
    for line in sweep.stdout:
        output.append(line)
        if line.startswith("member "):
            members.append(PhaseTimer(time.perf_counter()))
        elif members:
            members[-1].read(line)
    if sweep.wait() or len(members) != count or not all(member.is_done for member in members):
        raise RuntimeError(f"the sweep did not come to its end:\n{''.join(output)}")
    return [member.seconds for member in members]


if __name__ == "__main__":
    main()
