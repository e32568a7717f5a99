"""A trace holds the steps after warm-up, and changes nothing of the run."""

import gzip
import json

import pytest

from mlp_core.train.log import StepTrace
from mlp_core.train.loop import train
from tests.mlp_core.train.quadratic import Interrupt, Quadratic, StopsAt, settings


def traced_steps(folder):
    """The numbers of the steps in the trace below `folder`."""
    (file,) = folder.glob("plugins/profile/*/*.trace.json.gz")
    events = json.loads(gzip.decompress(file.read_bytes()))["traceEvents"]
    return {int(e["args"]["step_num"]) for e in events if "step_num" in e.get("args", {})}


def test_a_run_of_twelve_steps_is_traced_from_its_middle_and_is_the_same_run(tmp_path, capsys):
    plain = train(Quadratic(), settings(), tmp_path / "plain")
    assert not (tmp_path / "plain" / "tensorboard" / "plugins").exists()
    assert train(Quadratic(), settings(), tmp_path / "traced", profile=True) == plain
    assert "Trace from step 7 on: " in capsys.readouterr().out
    assert traced_steps(tmp_path / "traced" / "tensorboard") == {6, 7, 8, 9, 10, 11}


def test_a_run_that_is_interrupted_leaves_the_steps_there_were(tmp_path):
    broken = Quadratic(train_source=StopsAt(Quadratic().train_source, 11))
    with pytest.raises(Interrupt):
        train(broken, settings(), tmp_path, profile=True)
    steps = traced_steps(tmp_path / "tensorboard")
    assert steps and steps < {6, 7, 8, 9, 10, 11}


def test_ten_steps_are_traced_after_the_first_ten_of_a_run_that_goes_on(tmp_path):
    trace = StepTrace(tmp_path, first_step=100, last_step=1000)
    for number in range(100, 130):
        with trace.step(number):
            pass
        trace.after(number, state=())
    assert traced_steps(tmp_path) == set(range(110, 120))
