"""How long training stands still for a checkpoint, of Mixer-B/16 with AdamW: 680 MiB of state.

`stall` is the time in `Checkpoints.save`, before which the last step was waited for: the copy that
is written while training continues. `save` lasts until everything is on disk. The parameters are
random, and a save begins when the one before has ended. The disk is that of the folder for
temporary files.

    python benchmarks/checkpoint_stall.py
"""

import argparse
import contextlib
import sys
import tempfile
import time
from pathlib import Path

import jax
from report import print_report, summary

from configs import mixer_b16_imagenet_scratch
from mlp_core.checkpoints.save import Checkpoints
from mlp_core.config import CheckpointConfig
from mlp_core.distributed.mesh import make_mesh
from mlp_core.process.memory import keep_freed_memory
from mlp_core.train.programs import make_programs
from mlp_vision.tasks.planning import planned_run


def main() -> None:
    """Measures and prints the report."""
    options = _parse_options()
    keep_freed_memory()  # As the command does.
    config = mixer_b16_imagenet_scratch.get_config()
    config.model.name = options.model
    run = planned_run(config, None, jax.default_backend())
    programs = make_programs(run.task, run.settings, run.plan(), make_mesh())
    state = jax.block_until_ready(programs.create_random(jax.random.key(0)))
    stalls, saves = [], []
    with (
        contextlib.redirect_stdout(sys.stderr),
        tempfile.TemporaryDirectory() as folder,
        contextlib.closing(_open(Path(folder), programs.abstract_state)) as checkpoints,
    ):
        for step in range(options.repetitions + 1):
            started = time.perf_counter()
            checkpoints.save(step, state, None, {})
            stalls.append(time.perf_counter() - started)
            checkpoints.wait()
            saves.append(time.perf_counter() - started)
            print(f"{step}: {stalls[-1]:.3f} s of {saves[-1]:.2f} s", flush=True)
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    figures = {"stall_seconds": summary(stalls[1:]), "save_seconds": summary(saves[1:])}
    sizes = {"model": options.model, "state_mib": size >> 20, "repetitions": options.repetitions}
    print_report("checkpoint_stall", figures, sizes)


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small numbers: shows that it runs")
    parser.add_argument("--model", default="mixer_b16", help="of MLP-Mixer")
    parser.add_argument("--repetitions", type=int, default=9, help="saves that count")
    options = parser.parse_args()
    if options.quick:
        options.model, options.repetitions = "mixer_s32", 1
    return options


def _open(folder: Path, abstract_state) -> Checkpoints:
    config = CheckpointConfig(every="1 step", keep_latest=2, keep_best=0)
    checkpoints = Checkpoints(folder / "checkpoints", config, "test/top1")
    checkpoints.load_newest(abstract_state)
    return checkpoints


if __name__ == "__main__":
    main()
