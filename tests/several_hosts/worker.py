"""One process of several that make small runs; the argument is JSON, see `processes.py`."""

import contextlib
import json
import os
import signal
import time
from pathlib import Path

import numpy as np

from mlp_core.distributed import hosts
from mlp_core.distributed.cluster import Cluster
from mlp_core.errors import UserError
from tests.mlp_core.train.quadratic import Interrupt, StopsAt, settings
from tests.mlp_core.train.two_layers import TwoLayers


class Recorded:
    """Notes which example is read for which place in the order of training."""

    def __init__(self, source):
        self.source, self.read = source, {}

    def __len__(self):
        return len(self.source)

    def gather(self, indices, draws):
        self.read |= dict(zip(draws.tolist(), indices.tolist(), strict=True))
        return self.source.gather(indices, draws)


class StopsAtPlace(Recorded):
    """The same up to a place; whichever thread reads on is interrupted."""

    def __init__(self, source, place):
        super().__init__(source)
        self.place = place

    def gather(self, indices, draws):
        if draws.max() >= self.place:
            raise Interrupt
        return super().gather(indices, draws)


class OneUnreadable:
    """An evaluation source that cannot read its example 3."""

    def __init__(self, source):
        self.source, self.read = source, []

    def __len__(self):
        return len(self.source)

    def gather(self, indices):
        self.read += indices.tolist()
        return self.source.gather(indices) | {"mask": (indices != 3).astype(np.float32)}


class Fails(StopsAt):
    """A source that fails in some way after some batches."""

    def __init__(self, source, batches, way):
        super().__init__(source, batches)
        self.way = way

    def gather(self, indices, draws=None):
        try:
            return super().gather(indices, draws)
        except Interrupt:
            if self.way == "preempted":
                if self.left == -1:
                    os.kill(os.getpid(), signal.SIGTERM)
                return self.source.gather(indices, draws)
            if self.way == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.way == "sigterm":
                if self.left == -1:
                    os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0.05)  # The hosts take a second to agree on a step.
                return self.source.gather(indices, draws)
            error = UserError if self.way == "disk" else RuntimeError
            raise error("/data: the disk is broken.") from None


class Slow(Recorded):
    """The same, with a pause before each batch."""

    def gather(self, indices, draws):
        time.sleep(0.05)
        return super().gather(indices, draws)


def signal_in(place: str, number: int) -> None:
    """Has the process send itself a signal when it comes to a place of the training loop."""
    from mlp_core.checkpoints.save import Checkpoints
    from mlp_core.train import loop as train_loop
    from mlp_core.train.log import RunLog

    owner, name = {
        "restoring": (train_loop, "initial_state"),
        "compilation": (train_loop, "wait_for_all"),  # At its end.
        "the first step": (RunLog, "add"),
        "an evaluation": (train_loop, "evaluate_splits"),
        "a save": (Checkpoints, "save"),
    }[place]
    function, sent = getattr(owner, name), []

    def signalled(*args, **kwargs):
        if not sent:
            sent.append(os.kill(os.getpid(), number))
        return function(*args, **kwargs)

    setattr(owner, name, signalled)


def make_run(
    workdir: str,
    changes: dict | None = None,
    stops_at: int | None = None,
    fails_at: int | None = None,
    way: str = "disk",
    host: int = 0,
    signalled_in: str = "",
    number: int = signal.SIGTERM,
) -> tuple[dict[int, int], list[int]]:
    """Trains; returns the examples read, by place, and those that were evaluated.

    After `stops_at` batches it is interrupted; after `fails_at` one host fails, in some way. In the
    place `signalled_in` one host is sent the signal `number`.
    """
    from mlp_core.train.loop import train

    config, source = settings(**(changes or {})), TwoLayers().train_source
    evaluated = OneUnreadable(TwoLayers().eval_sources["test"])
    if stops_at is None:
        recorded = Recorded(source)
    else:
        recorded = StopsAtPlace(source, stops_at * config.train.global_batch_size)
    source = recorded
    if signalled_in:
        source = recorded = Slow(source.source)
        if hosts.store() is None or hosts.store().index == host:
            signal_in(signalled_in, number)
    if fails_at is not None and hosts.store().index == host:
        source = Fails(recorded, fails_at, way)
    task = TwoLayers(train_source=source, eval_sources={"test": evaluated})
    with contextlib.suppress(Interrupt):
        train(task, config, Path(workdir))
    return recorded.read, evaluated.read


def main(files: list[str]) -> None:
    cluster, runs = json.loads(files[0])
    hosts.SILENCE_SECONDS = 8
    if cluster:
        hosts.start(Cluster("a test", *cluster))
    index = cluster[2] if cluster else 0
    for run in runs:
        read, evaluated = make_run(**run)
        record = Path(run["workdir"]) / f"read_by_{index}.json"
        record.write_text(json.dumps([sorted(read.items()), evaluated]))


if __name__ == "__main__":
    from launch.command import run_command

    run_command(main, takes_files=True)
