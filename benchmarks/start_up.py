"""Seconds from the start of the process to the end of the first training step.

Each repetition runs `python launch/main.py --config=configs/mixer_digits.py` as a process of its
own, with a report after each step, and reads its output up to the line of step 1. The evaluation
of the initial parameters comes before that step and is included. The line is printed once the
scalars of step 1 have been fetched, which the loop does after it has dispatched step 2: the figure
is an upper bound by a few milliseconds. The process is then killed.

`warm`: an unmeasured run before has prepared the data and filled the program cache. `cold`: the
data are prepared and the program cache is empty. `warm_phases` are the parts of the warm time, in
order; a part ends with a line of the run's output. `import_seconds`: processes that import a
package and end, ours beside JAX with Flax and Optax, on which it stands.

    python benchmarks/start_up.py
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from report import print_report, summary
from run_phases import PHASES, ROOT, PhaseTimer, start_command

CONFIG = "configs/mixer_digits.py"
IMPORTS = {"ours": "mlp_vision", "libraries": "jax, flax.linen, optax"}


def main() -> None:
    """Measures and prints the report."""
    options = _parse_options()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        _start(folder, "warm")  # Unmeasured: prepares the data, fills the program cache.
        warm, cold = [], []
        for i in range(max(options.warm_repetitions, options.cold_repetitions)):
            if i < options.warm_repetitions:
                warm.append(_start(folder, "warm"))
            if i < options.cold_repetitions:
                cold.append(_start(folder, f"cold_{i}"))
    imports = [_import_seconds() for _ in range(options.warm_repetitions)]
    figures = {
        "warm_seconds": summary([sum(run.values()) for run in warm]),
        "cold_seconds": summary([sum(run.values()) for run in cold]) if cold else None,
        "warm_phases": {
            phase: round(statistics.median(run[phase] for run in warm), 2) for phase in PHASES
        },
        "import_seconds": {name: summary([turn[name] for turn in imports]) for name in IMPORTS},
    }
    sizes = {
        "config": CONFIG,
        "warm_repetitions": options.warm_repetitions,
        "cold_repetitions": options.cold_repetitions,
    }
    print_report("start_up", figures, sizes)


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="shows that it runs; no cold start")
    parser.add_argument("--warm_repetitions", type=int, default=15, help="with cached programs")
    parser.add_argument("--cold_repetitions", type=int, default=5, help="without")
    options = parser.parse_args()
    if options.quick:
        options.warm_repetitions, options.cold_repetitions = 1, 0
    return options


def _import_seconds() -> dict[str, float]:
    """Seconds of a process that imports a package and ends, by name of `IMPORTS`."""
    seconds = {}
    for name, packages in IMPORTS.items():
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", f"import {packages}"], cwd=ROOT, check=True)
        seconds[name] = time.perf_counter() - started
    return seconds


def _start(folder: Path, cache: str) -> dict[str, float]:
    """Starts a run in a new folder and returns the seconds of each phase up to the first step."""
    with tempfile.TemporaryDirectory(dir=folder) as workdir:
        arguments = [
            *("launch/main.py", f"--config={CONFIG}", f"--workdir={workdir}"),
            "--config.log.every=1 step",
        ]
        timer, output = PhaseTimer(time.perf_counter()), []
        run = start_command(arguments, cache=folder / cache, data=folder / "data")
        try:
            for line in run.stdout:
                output.append(line)
                timer.read(line)
                if timer.is_done:
                    return timer.seconds
        finally:
            run.kill()
            run.wait()
    raise RuntimeError(f"the run ended before its first step:\n{''.join(output)}")


if __name__ == "__main__":
    main()
