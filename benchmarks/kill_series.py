"""Many kills of training runs at random moments, half of them while a checkpoint is written.

Each run is killed and started again until it is through; then its curve and its whole training
state have to be those of an undisturbed run, bit for bit. Runs follow one another until there have
been `--kills`.

    python benchmarks/kill_series.py
"""

import argparse
import contextlib
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from killed_runs import DigitsRun, check_ended, difference, wait, wait_for_writing
from report import print_report

FIELDS = (
    *("model.num_blocks=1", "schedule.warmup=10 steps", "evaluation.every=20 steps"),
    *("checkpoint.every=7 steps", "log.every=5 steps"),
)


def main() -> None:
    """Kills and prints the report; status 1 where something differs."""
    options = _parse_options()
    rng, fields = random.Random(options.seed), (*FIELDS, f"train.duration={options.steps} steps")
    kills = {"SIGKILL": 0, "SIGKILL while writing": 0, "SIGTERM": 0}
    differences, runs = [], 0
    with contextlib.redirect_stdout(sys.stderr), tempfile.TemporaryDirectory() as folder:
        undisturbed = DigitsRun(Path(folder), "undisturbed", fields)
        started = time.monotonic()
        process = undisturbed.start()
        process.wait(600)
        check_ended(process, undisturbed)
        longest = time.monotonic() - started
        while sum(kills.values()) < options.kills:
            runs += 1
            run = DigitsRun(Path(folder), f"killed_{runs}", fields)
            _to_the_end(run, rng, longest, kills, options.kills)
            if found := difference(run, undisturbed, options.steps):
                differences.append(found)
            print(f"run {runs} is through: {kills}; {found or 'no difference'}")
    figures = {"kills": kills, "runs": runs, "differences": differences}
    print_report("kill_series", figures, {"steps": options.steps, "seed": options.seed})
    if differences:
        sys.exit(1)


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="shows that it works")
    parser.add_argument("--kills", type=int, default=200, help="in all")
    parser.add_argument("--steps", type=int, default=200, help="of each run")
    parser.add_argument("--seed", type=int, default=0, help="of moments and kinds of kills")
    options = parser.parse_args()
    if options.quick:
        options.kills, options.steps = 1, 20
    return options


def _to_the_end(
    run: DigitsRun, rng: random.Random, longest: float, kills: dict[str, int], most_kills: int
) -> None:
    """Starts `run` until it is through, and kills it meanwhile; `longest`: seconds it may take."""
    while True:
        process = run.start()
        if sum(kills.values()) < most_kills:
            kind = rng.choice(
                ["SIGKILL", "SIGKILL while writing", "SIGTERM", "SIGKILL while writing"]
            )
            if kind == "SIGKILL while writing":
                for _ in range(rng.randint(1, 3)):
                    wait_for_writing(run, process, rng)
            else:
                wait(rng.uniform(0, longest), process)
            sent = signal.SIGTERM if kind == "SIGTERM" else signal.SIGKILL
            process.send_signal(sent)
        else:
            kind = sent = None
        process.wait(600)
        check_ended(process, run, sent)
        if process.returncode == 0:
            return
        kills[kind] += 1
        print(f"{kind}: at step {run.step()}")


if __name__ == "__main__":
    main()
