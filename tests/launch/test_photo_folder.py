"""The command on folders of photographs, some of them bad."""

import os
import re
import subprocess
import sys
import time

import jax
import numpy as np
import psutil
import pytest
from orbax.checkpoint import v1 as ocp

from configs import mixer_digits
from mlp_core.run_folder.metrics import read_metrics
from mlp_vision.data.photos import PhotoSource
from mlp_vision.tasks import experiment
from tests.conftest import ROOT
from tests.mlp_vision.data.made_photos import (
    BAD_FILES,
    add_odd_and_bad_files,
    encoded,
    photo,
    write_folder,
)

SMALL = {
    "data.image_size": 16,
    "data.eval_preset": "timm",
    "model.patch_size": 4,
    "model.num_blocks": 1,
    "augment.flip": True,
    "schedule.warmup": "2 steps",
    "train.duration": "12 steps",
    "train.global_batch_size": 16,
    "evaluation.global_batch_size": 16,
    "evaluation.every": "6 steps",
    "checkpoint.every": "3 steps",
    "log.every": "3 steps",
}


ENVIRONMENT = os.environ | {"JAX_PLATFORMS": "cpu"}


def command(folder, workdir, **changes):
    flags = [f"--config.{field}={value}" for field, value in (SMALL | changes).items()]
    return [
        sys.executable, "launch/main.py", "--config=configs/mixer_digits.py", *flags,
        f"--config.data.name={folder}", f"--workdir={workdir}",
    ]  # fmt: skip


def launch(folder, workdir, **changes):
    return subprocess.run(
        command(folder, workdir, **changes),
        cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def test_a_folder_with_odd_and_bad_pictures_is_trained_on_and_evaluated(tmp_path):
    folder = write_folder(tmp_path / "animals")
    for split in ("train", "test"):
        add_odd_and_bad_files(folder / split / "dog")
    run = launch(folder, tmp_path / "run")
    assert run.returncode == 0, run.stderr
    assert "Found 31 pictures of 2 classes" in run.stdout
    assert "test: scored on 28 of 31 examples; 3 could not be read" in run.stdout
    reasons = {"cut.jpg": "cut short", "empty.jpg": "an empty file", "page.jpg": "a web page"}
    for name, reason in reasons.items():
        for split, consequence in (("train", "another takes its place"), ("test", "not scored")):
            lines = [line for line in run.stdout.splitlines() if f"{split}/dog/{name}" in line]
            lines = [line for line in lines if "could not be read" not in line]  # The summary.
            assert len(lines) == 1 and reason in lines[0] and consequence in lines[0]
    assert "train: 3 of 31 pictures could not be read: " in run.stdout
    last = read_metrics(tmp_path / "run" / "metrics.jsonl")[-1]
    assert last["step"] == 12
    assert last["test/top1"] * 28 == pytest.approx(round(last["test/top1"] * 28), abs=1e-4)
    assert "Warning" not in run.stderr


@pytest.mark.parametrize("split", ["train", "test"])
def test_many_bad_pictures_end_the_run_in_a_sentence(tmp_path, split):
    folder = write_folder(tmp_path / "animals")
    for i in range(8):
        (folder / split / "cat" / f"{i}.jpg").write_bytes(BAD_FILES["page.jpg"])
    run = launch(folder, tmp_path / "run")
    assert run.returncode == 2
    assert "Traceback" not in run.stderr + run.stdout
    (line,) = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    # Threads may have met more than the sixth, which is one too many.
    assert re.search(f"{folder}, {split}: [678] of 24 pictures cannot be read so far", line)
    assert "(a web page, not a picture)" in line and "mend or remove them" in line


class Interrupt(Exception):
    pass


def test_a_run_on_photographs_goes_on_bit_for_bit(tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "animals")
    add_odd_and_bad_files(folder / "train" / "dog")
    config = mixer_digits.get_config()
    config.update_from_flattened_dict(SMALL | {"data.name": str(folder)})
    experiment.train(config, tmp_path / "undisturbed")

    gather, left = PhotoSource.gather, iter(range(9))

    def breaks_off(self, indices, draws=None):
        if draws is not None and next(left, None) is None:
            raise Interrupt
        return gather(self, indices, draws)

    with monkeypatch.context() as patch, pytest.raises(Interrupt):
        patch.setattr(PhotoSource, "gather", breaks_off)
        experiment.train(config, tmp_path / "disturbed")
    assert not (tmp_path / "disturbed" / "checkpoints" / "12").exists()
    experiment.train(config, tmp_path / "disturbed")

    one, other = (
        ocp.load((tmp_path / name / "checkpoints" / "12").absolute())
        for name in ("undisturbed", "disturbed")
    )
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.slow
def test_it_learns_what_tells_photographs_apart(tmp_path):
    """Classes by colour: crops, decoding and labels belong together."""
    for split, seeds in (("train", range(30)), ("test", range(30, 45))):
        for name, colour in (("bluish", (0, 0, 1)), ("reddish", (1, 0, 0))):
            (tmp_path / split / name).mkdir(parents=True)
            for seed in seeds:
                matrix = [c for channel in colour for c in (channel, channel, channel, 0)]
                content = encoded(photo(seed).convert("RGB", tuple(matrix)))
                (tmp_path / split / name / f"{seed}.jpg").write_bytes(content)
    config = mixer_digits.get_config()
    config.update_from_flattened_dict(SMALL | {"data.name": str(tmp_path)})
    config.train.duration = "40 steps"
    assert experiment.train(config, tmp_path / "run")["test/top1"] > 0.95


@pytest.mark.slow
def test_a_worker_that_dies_ends_the_run_in_a_sentence_and_another_goes_on(tmp_path):
    folder, workdir = write_folder(tmp_path / "animals"), tmp_path / "run"
    add_odd_and_bad_files(folder / "train" / "dog")
    long = {"train.duration": "1000 steps", "evaluation.every": "0 steps"}
    flags = command(folder, workdir, **long, **{"data.num_workers": 2})
    run = subprocess.Popen(
        flags, cwd=ROOT, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 240
    while last_checkpoint(workdir) < 30:
        assert time.monotonic() < deadline and run.poll() is None
        time.sleep(0.1)
    workers = [child for child in psutil.Process(run.pid).children() if is_worker(child)]
    assert len(workers) == 2
    workers[0].kill()
    output, errors = run.communicate(timeout=60)
    assert run.returncode == 2, errors
    assert errors.splitlines()[-1].startswith(
        "error: config.data.num_workers: a worker process that reads data was ended by SIGKILL"
    )
    assert "Traceback" not in errors and "Warning" not in errors
    told = [line for line in output.splitlines() if "another takes its place" in line]
    assert len(told) == len(BAD_FILES)  # Once each, whichever worker met it.

    again = subprocess.Popen(
        command(folder, workdir, **long), cwd=ROOT, env=ENVIRONMENT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        assert any(line.startswith("Start: goes on from step") for line in again.stdout)
    finally:
        again.kill()
        again.communicate()


def last_checkpoint(workdir):
    names = (path.name for path in workdir.glob("checkpoints/*"))
    return max((int(name) for name in names if name.isdigit()), default=0)  # Others are unfinished.


def is_worker(process):
    return "spawn_main" in " ".join(process.cmdline())


@pytest.mark.slow
def test_workers_train_what_threads_train(tmp_path):
    folder = write_folder(tmp_path / "animals")
    add_odd_and_bad_files(folder / "train" / "dog")
    for num_workers in (0, 2):
        config = mixer_digits.get_config()
        config.update_from_flattened_dict(SMALL | {"data.name": str(folder)})
        config.data.num_workers = num_workers
        experiment.train(config, tmp_path / f"{num_workers}")
    one, other = (ocp.load(tmp_path / name / "checkpoints" / "12") for name in ("0", "2"))
    jax.tree.map(np.testing.assert_array_equal, one, other)
