"""How much longer a step takes in a whole training run than alone.

Full: `mlp_core.train.loop.train` with an image classification task, that is with input pipeline,
transfer, metrics, their check and fetch, progress lines and files. Its mean step time is what the
loop itself writes to metrics.jsonl, over all reports but the first, which holds the warm-up.
Evaluation and checkpoint happen only at the start and at the end and are not part of it.

Bare: the same jitted step on one batch that stays on the device, state donated, no value read;
the host waits only at the end.

The two alternate, bare first and last, and each full run is divided by the mean of the two bare
runs next to it, so that a slow drift of the machine cancels. `bare_repeatability` is each bare
run but the outer two over the mean of its neighbours: how far a ratio strays with no cause at all.
Everything compiled comes from the same program cache, filled by an unmeasured run.

    python benchmarks/loop_overhead.py
"""

import argparse
import contextlib
import statistics
import sys
import tempfile
from pathlib import Path

import jax
from bare_step import BareStep, make_task, small_mixer_config
from report import print_report, summary

from mlp_core.process.memory import keep_freed_memory
from mlp_core.run_folder.metrics import read_metrics
from mlp_core.run_folder.run_directory import RunFiles
from mlp_core.train import loop as train_loop
from mlp_vision.tasks.classification import ImageClassification
from mlp_vision.tasks.config import ImageClassificationConfig


def main() -> None:
    """Measures and prints the report."""
    options = _parse_options()
    with contextlib.redirect_stdout(sys.stderr), tempfile.TemporaryDirectory() as folder:
        keep_freed_memory()  # As the command does.
        jax.config.update("jax_compilation_cache_dir", str(Path(folder) / "programs"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        config = small_mixer_config(
            Path(folder) / "data",
            hidden_dim=options.hidden_dim,
            num_blocks=options.num_blocks,
            batch_size=options.batch_size,
            steps=options.steps,
            every=f"{options.report_every} steps",
        )
        figures = _measure(config, options.repetitions, Path(folder) / "runs")
    sizes = {
        "num_blocks": options.num_blocks,
        "hidden_dim": options.hidden_dim,
        "global_batch_size": options.batch_size,
        "steps_a_run": options.steps,
        "steps_a_report": options.report_every,
        "repetitions": options.repetitions,
    }
    print_report("loop_overhead", figures, sizes)


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small numbers: shows that it runs")
    parser.add_argument("--batch_size", type=int, default=32, help="over all devices")
    parser.add_argument("--num_blocks", type=int, default=2, help="depth of the Mixer")
    parser.add_argument("--hidden_dim", type=int, default=128, help="width of the Mixer")
    parser.add_argument("--steps", type=int, default=140, help="of each run, full or bare")
    parser.add_argument("--report_every", type=int, default=20, help="steps between reports")
    parser.add_argument("--repetitions", type=int, default=15, help="full runs that count")
    options = parser.parse_args()
    if options.quick:
        options.num_blocks, options.hidden_dim, options.batch_size = 1, 32, 8
        options.steps, options.report_every, options.repetitions = 15, 5, 2
    if options.steps < 2 * options.report_every:
        parser.error("--steps must hold two reports at least: the first one does not count.")
    return options


def _measure(config: ImageClassificationConfig, repetitions: int, runs: Path) -> dict[str, dict]:
    """Alternates bare and full runs; all times are seconds a step."""
    task = make_task(config)
    _full_run(task, config, runs / "unmeasured")
    bare_step = BareStep(config)
    bare, full, waits = [bare_step.mean_seconds()], [], []
    for i in range(repetitions):
        seconds, wait = _full_run(task, config, runs / str(i))
        full.append(seconds)
        waits.append(wait)
        bare.append(bare_step.mean_seconds())
        print(f"{i + 1}: full {full[-1]:.5f} s, bare {bare[-1]:.5f} s", flush=True)
    return {
        "ratio": summary([2 * full[i] / (bare[i] + bare[i + 1]) for i in range(repetitions)]),
        "bare_repeatability": summary(
            [2 * bare[i] / (bare[i - 1] + bare[i + 1]) for i in range(1, repetitions)]
        ),
        "full_step_seconds": summary(full),
        "bare_step_seconds": summary(bare),
        "data_wait_share": summary(waits),
    }


def _full_run(
    task: ImageClassification, config: ImageClassificationConfig, workdir: Path
) -> tuple[float, float]:
    """Mean step time of a training run, and the share of it in which the loop waits for data."""
    workdir.mkdir(parents=True)
    train_loop.train(task, config, workdir)
    records = read_metrics(RunFiles.of(workdir).metrics)
    first, *reports = [record for record in records if "train/device_days" in record]
    last = reports[-1]
    device_days = last["train/device_days"] - first["train/device_days"]  # They add up in a run.
    step_seconds = device_days * 86400 / jax.device_count() / (last["step"] - first["step"])
    return step_seconds, statistics.mean(report["train/data_wait_share"] for report in reports)


if __name__ == "__main__":
    main()
