"""What it brings on a CPU that the process keeps freed memory (`mlp_core.process.memory`).

The training step of a small Mixer, alone on one batch that stays on the device, in processes that
keep freed memory and in processes that do not, in turns. `ratio` is the time without over the
time with; a pair of neighbours gives one.

    python benchmarks/freed_memory.py
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from bare_step import BareStep, small_mixer_config
from report import print_report, summary

from mlp_core.process.memory import keep_freed_memory


def main() -> None:
    """Measures in processes of their own, and prints the report."""
    options = _parse_options()
    if options.data_dir:
        _measure_here(options)
        return
    with tempfile.TemporaryDirectory() as data_dir:
        _measure_apart(options, data_dir, keep=True)  # Unmeasured: prepares the data.
        pairs = [
            (_measure_apart(options, data_dir, keep=False), _measure_apart(options, data_dir, True))
            for _ in range(options.repetitions)
        ]
    figures = {
        "ratio": summary([without / kept for without, kept in pairs]),
        "step_seconds_without": summary([without for without, _ in pairs]),
        "step_seconds_with": summary([kept for _, kept in pairs]),
    }
    sizes = {
        "hidden_dim": options.hidden_dim,
        "batch_size": 32,
        "steps": options.steps,
        "repetitions": options.repetitions,
    }
    print_report("freed_memory", figures, sizes)


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small numbers: shows that it runs")
    parser.add_argument("--steps", type=int, default=150, help="of each process")
    parser.add_argument("--hidden_dim", type=int, default=128, help="width of the Mixer")
    parser.add_argument("--repetitions", type=int, default=7, help="pairs of processes")
    parser.add_argument("--data_dir", help=argparse.SUPPRESS)  # Set in the measuring processes.
    parser.add_argument("--keep", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.steps, options.hidden_dim, options.repetitions = 5, 32, 1
    return options


def _measure_apart(options: argparse.Namespace, data_dir: str, keep: bool) -> float:
    """Seconds a step in a process of its own."""
    command = [sys.executable, __file__, f"--steps={options.steps}", f"--data_dir={data_dir}"]
    command.append(f"--hidden_dim={options.hidden_dim}")
    output = subprocess.run(
        [*command, *(["--keep"] if keep else [])], check=True, capture_output=True, text=True
    ).stdout
    return float(output.splitlines()[-1])


def _measure_here(options: argparse.Namespace) -> None:
    if options.keep:
        keep_freed_memory()
    config = small_mixer_config(
        Path(options.data_dir),
        hidden_dim=options.hidden_dim,
        num_blocks=2,
        batch_size=32,
        steps=options.steps,
    )
    print(BareStep(config).mean_seconds())


if __name__ == "__main__":
    main()
