"""A disk that is really full: a small file system of the test's own, or a limit to files."""

import errno
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from orbax.checkpoint import v1 as ocp

from mlp_core.data.sources import ArraySource
from mlp_core.data.tfds.tfrecord import read_records
from mlp_core.errors import UserError
from mlp_core.process.console import quiet_libraries
from mlp_core.process.files import FullDiskError, full_disk_told, is_full_disk
from mlp_core.run_folder.checkpoint_folder import saved_steps
from mlp_core.run_folder.metrics import MetricWriter, read_metrics
from mlp_core.train.loop import train
from tests.conftest import ROOT
from tests.mlp_core.checkpoints.test_damaged_checkpoints import abstract_state, made_state, opened
from tests.mlp_core.train.quadratic import Quadratic
from tests.mlp_core.train.test_loop import settings

SEPARATELY = {
    "cwd": ROOT,
    "env": os.environ | {"JAX_PLATFORMS": "cpu"},
    "capture_output": True,
    "text": True,
    "timeout": 120,
}
IN_OWN_NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")


def can_mount() -> bool:
    """Whether a file system can be mounted here without rights, seen by its process only."""
    if shutil.which("unshare") is None:
        return False
    mount = [*IN_OWN_NAMESPACE, "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(mount, capture_output=True).returncode == 0


class FillsTheDisk(ArraySource):
    """Leaves no room for anything from some batch on."""

    def __init__(self, source: ArraySource, ballast: Path, first_full: int):
        self.source, self.ballast, self.first_full = source, ballast, first_full

    def __len__(self):
        return len(self.source)

    def gather(self, indices, draws=None):
        if draws[0] >= self.first_full * len(draws):
            fill(self.ballast)
        return self.source.gather(indices, draws)


def fill(file: Path) -> None:
    """Writes until there is no room."""
    with file.open("ab", buffering=0) as ballast:
        for size in (1 << 12, 1):
            try:
                while True:
                    ballast.write(bytes(size))
            except OSError as error:
                assert error.errno == errno.ENOSPC


def run_on_a_full_disk(folder: Path) -> None:
    """In a process of its own, which sees a small file system at `folder`."""
    quiet_libraries()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", folder], check=True)
    workdir, config = folder / "run", settings(**{"checkpoint.every": "2 steps"})
    undisturbed = train(Quadratic(), config, folder / "undisturbed")
    with pytest.raises(FullDiskError, match="no room is left .* the last good checkpoint, it is"):
        source = FillsTheDisk(Quadratic().train_source, folder / "ballast", first_full=8)
        train(Quadratic(train_source=source), config, workdir)
    steps = saved_steps(workdir / "checkpoints")
    assert steps and 12 not in steps
    for step in steps:
        ocp.load(workdir / "checkpoints" / str(step))
    (folder / "ballast").unlink()
    assert train(Quadratic(), config, workdir) == undisturbed


@pytest.mark.skipif(not can_mount(), reason="no file system can be mounted here without rights")
def test_a_run_on_a_full_disk_ends_in_a_sentence_and_goes_on_when_there_is_room(tmp_path):
    code = f"from {__name__} import *; run_on_a_full_disk(Path({str(tmp_path)!r}))"
    run = subprocess.run([*IN_OWN_NAMESPACE, sys.executable, "-c", code], **SEPARATELY)
    assert run.returncode == 0, run.stderr
    assert "Traceback" not in run.stderr


ARRAY_ENDS_LATE = """
import asyncio, sys, time
import tensorstore
import mlp_core.checkpoints.save
from mlp_core.process.console import quiet_libraries

quiet_libraries()
late, array = tensorstore.Promise.new()

async def wait():
    await array

async def fail():
    await asyncio.sleep(0)
    raise OSError("no room")

async def save():
    await asyncio.gather(wait(), fail())

loop = asyncio.new_event_loop()
try:
    loop.run_until_complete(save())
except OSError as error:
    print(error)
loop.close()
late.set_result(0)
time.sleep(0.2)  # TensorStore calls back in a thread of its own.
class Fails:
    def __del__(self):
        raise ValueError("still told")
Fails()
"""


def test_what_ends_after_a_failure_is_not_told_and_everything_else_is():
    run = subprocess.run([sys.executable, "-c", ARRAY_ENDS_LATE], **SEPARATELY)
    assert run.returncode == 0 and run.stdout == "no room\n"
    assert "Event loop is closed" not in run.stderr and "ValueError: still told" in run.stderr


@pytest.fixture
def limited():
    """Sets how long a file may grow; the limit is gone after the test."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_save_that_fails_in_the_background_is_told_soon_and_the_one_before_is_whole(
    tmp_path, limited
):
    checkpoints = opened(tmp_path)
    checkpoints.load_newest(abstract_state())
    checkpoints.save(1, made_state(1), None, {})
    checkpoints.wait()
    checkpoints.check()
    state = made_state(2)
    limited(100_000)
    deadline = time.monotonic() + 60
    with pytest.raises(FullDiskError, match=f"^{tmp_path}: no room is left on the disk"):
        checkpoints.save(2, state, None, {})
        while time.monotonic() < deadline:
            checkpoints.check()
            time.sleep(0.01)
    limited(resource.RLIM_INFINITY)
    checkpoints.close()
    again = opened(tmp_path)
    assert again.load_newest(abstract_state()).step == 1
    again.save(2, state, None, {})
    again.close()
    assert saved_steps(tmp_path) == [1, 2]


def test_metrics_end_at_a_full_disk_and_wait_for_nothing(tmp_path, limited):
    writer = MetricWriter(tmp_path / "metrics.jsonl", tmp_path / "tensorboard", 0)
    writer.write(1, {"train/loss": 0.5})
    limited(2000)
    with pytest.raises(FullDiskError, match="^here: no room"), full_disk_told("here"):
        for step in range(2, 100):
            writer.write(step, {"train/loss": 0.5})
    limited(resource.RLIM_INFINITY)
    writer.close()
    records = read_metrics(tmp_path / "metrics.jsonl")
    assert [record["step"] for record in records] == list(range(1, len(records) + 1))


def test_tensorboard_events_are_whole(tmp_path):
    from tensorboardX.proto.event_pb2 import Event, SessionLog

    writer = MetricWriter(tmp_path / "metrics.jsonl", tmp_path / "tensorboard", 3)
    writer.write(4, {"train/loss": 0.5, "test/top1": 0.25})
    (file,) = (tmp_path / "tensorboard").glob("events.out.tfevents.*")
    version, start, scalars = (Event.FromString(record) for record in read_records(file))
    assert version.file_version == "brain.Event:2"
    assert start.session_log.status == SessionLog.START and start.step == 4
    assert scalars.step == 4 and scalars.wall_time > 1e9
    values = {value.tag: value.simple_value for value in scalars.summary.value}
    assert values == {"train/loss": 0.5, "test/top1": 0.25}
    writer.close()


def test_a_full_disk_is_known_by_number_or_by_words_and_other_errors_are_not():
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        assert is_full_disk(OSError(number, "x"))
        assert is_full_disk(RuntimeError(f"INTERNAL: write: {os.strerror(number)} [x.cc:1]"))
    with pytest.raises(FullDiskError), full_disk_told("here"):
        try:
            raise OSError(errno.ENOSPC, "x")
        except OSError as error:
            raise ValueError("cannot save") from error
    with pytest.raises(PermissionError), full_disk_told("here"):
        raise PermissionError(errno.EACCES, "x")
    with pytest.raises(UserError, match="^told$"), full_disk_told("here"):
        raise UserError("told")
