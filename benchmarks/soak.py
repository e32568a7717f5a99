"""A long run that is killed every few minutes, beside an undisturbed one of the same length.

At random moments the run is sent SIGKILL, or SIGTERM, or SIGKILL while a checkpoint is written, or
shortly after its start; then it is started again. At the end its curve and its whole training
state have to be those of the undisturbed run, bit for bit.

The memory of both processes is looked at every second, without the files that are mapped, which
the system may drop and read again as it likes. What counts are medians of a minute, from when a
process has made `--settling` steps; `memory_growth` is how far the largest is above the first, in
the undisturbed run and in the worst of the lives between two kills. `between_lives` compares the
largest of the later half of the lives with those of the former half. (Orbax 0.12 with TensorStore
0.1.86 loses some 80 KiB at each save of these 162 arrays.)

The number of steps comes from the speed of a short run before. Both runs start with all programs
in the cache, and may share one core:

    taskset --cpu-list 1 python benchmarks/soak.py
"""

import argparse
import contextlib
import math
import random
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil
from killed_runs import DigitsRun, check_ended, difference, wait, wait_for_writing
from report import print_report

MOST_GROWTH = 0.05
A_MINUTE = 60  # Looks, one a second.
FIELDS = (
    *("evaluation.every=100 steps", "checkpoint.every=100 steps", "log.every=10 steps"),
    # Larger ones need blocks of 45 MiB, for which now and then no freed memory is in one piece.
    "evaluation.global_batch_size=120",
)


def main() -> None:
    """Soaks and prints the report; status 1 where something differs or memory grows."""
    options = _parse_options()
    with contextlib.redirect_stdout(sys.stderr), tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        steps = options.steps or _steps_of(options.minutes, folder)
        _fill_program_cache(steps, folder)
        figures = _soak(folder, steps, options)
    sizes = {
        "steps": steps,
        "interval_minutes": options.interval,
        "settling_steps": options.settling,
    }
    print_report("soak", figures, sizes)
    growths = [growth for growth in figures["memory_growth"].values() if growth is not None]
    if figures["difference"] or max(growths, default=0) > MOST_GROWTH:
        sys.exit(1)


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="shows that it works; memory is not judged"
    )
    parser.add_argument("--minutes", type=float, default=60, help="of training, about")
    parser.add_argument("--steps", type=int, help="in place of --minutes")
    parser.add_argument("--interval", type=float, default=4, help="minutes between kills")
    parser.add_argument("--most_kills", type=int, default=10**9, help="then it is left alone")
    parser.add_argument("--settling", type=int, default=500, help="steps until memory counts")
    parser.add_argument("--seed", type=int, default=0, help="of moments and kinds of kills")
    options = parser.parse_args()
    if options.quick:
        options.steps, options.interval, options.settling = 40, 0.1, 10**9
        options.most_kills = 1
    return options


def _steps_of(minutes: float, folder: Path) -> int:
    """The steps of two runs beside each other in this time, from the speed of a short one."""
    run = DigitsRun(folder, "speed", (*FIELDS, "train.duration=1000 steps"))
    process = run.start()
    while process.poll() is None and run.step() < 100:
        time.sleep(0.1)
    began, started = run.step(), time.monotonic()
    wait(600, process)
    process.kill()
    speed = (run.step() - began) / (time.monotonic() - started)
    print(f"{speed:.1f} steps a second alone")
    return int(minutes * 60 * speed / 2)


def _fill_program_cache(steps: int, folder: Path) -> None:
    """A process that compiles keeps more memory than one that does not."""
    run = DigitsRun(folder, "cache", (*FIELDS, f"train.duration={steps} steps"))
    process = run.start()
    while process.poll() is None and run.step() < 10:
        time.sleep(0.1)
    process.kill()
    process.wait()


def _soak(folder: Path, steps: int, options: argparse.Namespace) -> dict:
    rng, fields = random.Random(options.seed), (*FIELDS, f"train.duration={steps} steps")
    undisturbed, killed = (DigitsRun(folder, name, fields) for name in ("undisturbed", "killed"))
    started = time.monotonic()
    whole = Life(undisturbed, options.settling)
    lives: list[Life] = []
    kills = {"SIGKILL": 0, "SIGKILL while writing": 0, "SIGKILL at start": 0, "SIGTERM": 0}
    while True:
        life = Life(killed, options.settling)
        lives.append(life)
        kind = rng.choice(list(kills))
        is_last = sum(kills.values()) >= options.most_kills
        seconds = math.inf if is_last else 60 * options.interval * rng.uniform(0.5, 1.5)

        def look(life=life):
            life.look()
            whole.look()

        if kind == "SIGKILL at start" and not is_last:
            seconds = rng.uniform(0, 15)
        wait(seconds, life.process, look)
        if kind == "SIGKILL while writing":
            wait_for_writing(killed, life.process, rng)
        sent = signal.SIGTERM if kind == "SIGTERM" else signal.SIGKILL
        life.process.send_signal(sent)
        life.process.wait(600)
        check_ended(life.process, killed, sent)
        if life.process.returncode == 0:
            break
        kills[kind] += 1
        print(
            f"{(time.monotonic() - started) / 60:.1f} min: {kind} at step {killed.step():,} of "
            f"{steps:,} after {life.seconds:.0f} s; {life.in_words()}; undisturbed: step "
            f"{undisturbed.step():,}; {whole.in_words()}"
        )
    minutes = (time.monotonic() - started) / 60
    wait(24 * 3600, whole.process, whole.look)
    check_ended(whole.process, undisturbed)
    growths = [growth for life in lives if (growth := life.growth()) is not None]
    return {
        "minutes": round(minutes, 1),
        "kills": kills,
        "difference": difference(killed, undisturbed, steps),
        "memory_growth": {
            "undisturbed": whole.growth(),
            "worst_life": max(growths, default=None),
            "between_lives": _growth_between([max(m) for life in lives if (m := life.minutes())]),
        },
        "memory_mib": [
            round(median) for median in whole.minutes()[:: max(len(whole.minutes()) // 10, 1)]
        ],
    }


class Life:
    """A process from its start to its end, and the memory that it uses."""

    def __init__(self, run: DigitsRun, settling: int):
        """Starts `run`; `settling`: steps of the process until its memory counts."""
        self.settled: list[float] = []  # MiB.
        self._run = run
        self._settled_at = run.step() + settling
        self._started = time.monotonic()
        self.process = run.start()
        self._process = psutil.Process(self.process.pid)

    @property
    def seconds(self) -> float:
        """Since its start."""
        return time.monotonic() - self._started

    def look(self) -> None:
        """Takes a look at its memory."""
        if self._run.step() >= self._settled_at and self.process.poll() is None:
            with contextlib.suppress(psutil.Error):
                memory = self._process.memory_info()
                self.settled.append((memory.rss - memory.shared) / 2**20)

    def minutes(self) -> list[float]:
        """The medians of whole minutes, in MiB."""
        starts = range(0, len(self.settled) - A_MINUTE + 1, A_MINUTE)
        return [statistics.median(self.settled[i : i + A_MINUTE]) for i in starts]

    def growth(self) -> float | None:
        """How far the largest of the minutes is above the first, as a share."""
        minutes = self.minutes()
        return round(max(minutes) / minutes[0] - 1, 4) if minutes else None

    def in_words(self) -> str:
        """The memory it uses."""
        if not self.settled:
            return "memory not settled"
        return f"memory {min(self.settled):.0f} to {max(self.settled):.0f} MiB"


def _growth_between(peaks: list[float]) -> float | None:
    """How far the later half is above the former, by their medians."""
    half = len(peaks) // 2
    if not half:
        return None
    return round(statistics.median(peaks[-half:]) / statistics.median(peaks[:half]) - 1, 4)


if __name__ == "__main__":
    main()
