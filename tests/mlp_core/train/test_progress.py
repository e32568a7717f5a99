"""What a run says of its progress: soon, often, and with the right time left."""

import re

import jax
import numpy as np
import pytest

from mlp_core.run_folder.run_directory import RunFiles
from mlp_core.train import log as run_log
from mlp_core.train.durations import Plan
from mlp_core.train.log import CompiledAtFirst, RunLog, Stopwatch
from mlp_core.train.loop import train
from tests.mlp_core.train.quadratic import Quadratic, settings


class Clock:
    """A clock that stands still until it is moved."""

    now = 1000.0

    def __call__(self):
        return self.now

    def wait(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(run_log.time, "monotonic", clock)
    monkeypatch.setattr(run_log, "Stopwatch", lambda: Stopwatch(clock))
    return clock


def compiled_in(clock, seconds):
    """An evaluation step that takes its time to compile."""

    class Slow:
        def lower(self, batch):
            return self

        def compile(self):
            clock.wait(seconds)
            return lambda batch: None

    return CompiledAtFirst(Slow(), "the evaluation step", clock)


class Device:
    """Does steps one after another, in the time of the clock."""

    def __init__(self, clock, monkeypatch):
        self.clock, self.done = clock, clock.now
        monkeypatch.setattr(run_log.jax, "device_get", self.wait_for)

    def start(self, seconds):
        """Starts a step and returns its scalars, which also say when it will be done."""
        self.done = max(self.done, self.clock.now) + seconds
        names = ("loss", "grad_norm", "update_norm", "learning_rate")
        return {name: 1.5 for name in names} | {"done": self.done}

    def wait_for(self, scalars):
        self.clock.now = max(self.clock.now, scalars["done"])
        return scalars


@pytest.fixture
def device(clock, monkeypatch):
    return Device(clock, monkeypatch)


def run(device, log, plan, steps, evaluation_step, step_seconds, evaluation_seconds):
    """What the training loop does, in the time of the clock."""
    with log.stopwatch.pause():
        device.clock.wait(100)  # The training step is compiled.
    for step in range(steps):
        if step % plan.evaluate_every == 0:
            log.flush()
            with log.stopwatch.evaluating(evaluation_step):
                evaluation_step({})
                device.clock.wait(evaluation_seconds)
            log.write_evaluation(step, {"test/loss": 1.0})
        # The first one warms up.
        log.add(step + 1, device.start(5 * step_seconds if step == 0 else step_seconds))


@pytest.mark.parametrize("evaluation_seconds", [0, 30])
def test_time_left_is_that_of_steps_and_evaluations_without_compilation(
    tmp_path, capsys, clock, device, evaluation_seconds
):
    plan = Plan(total=100, warmup=0, evaluate_every=20, save_every=0, report_every=10)
    log = RunLog(RunFiles.of(tmp_path), plan, 8, 0, {})
    run(device, log, plan, 62, compiled_in(clock, 70), 2, evaluation_seconds)
    log.close()
    out = capsys.readouterr().out
    told = dict(re.findall(r"step (\d+)/100 .* ([\d:]+) left", out))
    seconds = {int(step): to_seconds(left) for step, left in told.items()}
    evaluations_left = {10: 5, 20: 5, 30: 4, 40: 4, 50: 3, 60: 3}
    for step, evaluations in evaluations_left.items():
        assert seconds[step] == 2 * (100 - step) + evaluations * evaluation_seconds, step


def to_seconds(text):
    parts = [int(part) for part in text.split(":")]
    return sum(part * 60**i for i, part in enumerate(reversed(parts)))


def test_speed_and_cost_leave_out_compilation(tmp_path, capsys, clock, device):
    plan = Plan(total=100, warmup=0, evaluate_every=100, save_every=0, report_every=10)
    log = RunLog(RunFiles.of(tmp_path), plan, 8, 0, {})
    run(device, log, plan, 12, compiled_in(clock, 70), 2, 30)
    log.close()
    assert "step 10/100  loss 1.5000  3 ex/s" in capsys.readouterr().out


def test_the_first_line_comes_with_the_first_step_and_no_silence_is_long(
    tmp_path, capsys, clock, device
):
    plan = Plan(total=1000, warmup=0, evaluate_every=1000, save_every=0, report_every=500)
    log = RunLog(RunFiles.of(tmp_path), plan, 8, 0, {})
    run(device, log, plan, 20, compiled_in(clock, 70), 8, 30)
    log.close()
    steps = re.findall(r"step (\d+)/1,000", capsys.readouterr().out)
    assert steps == ["1", "5", "9", "13", "17"]  # Every 32 seconds.


def test_a_resumed_run_counts_its_own_steps_only(tmp_path, capsys, clock, device):
    plan = Plan(total=1000, warmup=0, evaluate_every=0, save_every=0, report_every=10)
    log = RunLog(RunFiles.of(tmp_path), plan, 8, 900, {})
    for step in range(900, 912):
        log.add(step + 1, device.start(2))
    log.close()
    assert "step 910/1,000  loss 1.5000  4 ex/s  03:00 left" in capsys.readouterr().out


def test_a_run_says_that_it_compiles_before_it_does(tmp_path, capsys, monkeypatch):
    said = []

    def compile_noted(lowered, *args, **kwargs):
        said.extend(capsys.readouterr().out.splitlines()[-1:])
        return compile_plainly(lowered, *args, **kwargs)

    compile_plainly = jax.stages.Lowered.compile
    monkeypatch.setattr(jax.stages.Lowered, "compile", compile_noted)
    train(Quadratic(), settings(), tmp_path)
    steps = [line for line in said if line.startswith("Compiling")]
    assert steps == ["Compiling the training step ...", "Compiling the evaluation step ..."]


@pytest.mark.parametrize(
    "step, every, times",
    [(0, 4, 3), (1, 4, 3), (4, 4, 2), (8, 4, 1), (11, 4, 1), (12, 4, 0), (0, 5, 3), (10, 5, 1),
     (0, 0, 1), (12, 0, 0), (0, 100, 1)],
)  # fmt: skip
def test_what_is_due_is_counted_as_it_comes(step, every, times):
    plan = Plan(total=12, warmup=0, evaluate_every=0, save_every=0, report_every=0)
    assert plan.times_due(step, every) == times
    assert sum(plan.is_due(later, every) for later in range(step + 1, 13)) == times


def test_splits_whose_batches_differ_are_compiled_one_by_one(capsys):
    step = CompiledAtFirst(jax.jit(lambda batch: batch["x"].sum()), "the evaluation step")
    plain, labelled = {"x": np.ones(3)}, {"x": np.ones(3), "real": np.ones((3, 2))}
    assert [step(batch) for batch in (plain, labelled, plain, {"x": np.ones(4)})] == [3, 3, 3, 4]
    assert capsys.readouterr().out.count("Compiling the evaluation step") == 3
