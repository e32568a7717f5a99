"""SIGTERM to one host has all of them save the same step and end."""

import re

from mlp_core.run_directory import saved_steps
from tests.several_hosts.processes import ends_of, start_workers

LONG = {"train.duration": "1000000 steps", "checkpoint.every": "0", "evaluation.every": "0"}


def test_sigterm_to_one_host_saves_a_step_on_all(tmp_path):
    run = {"workdir": str(tmp_path), "fails_at": 6, "host": 1, "way": "preempted", "changes": LONG}
    ends = ends_of(start_workers(2, 4, run))
    assert [end.status for end in ends] == [75, 75], ends
    sentence = "ended by SIGTERM; step ([0-9,]+) is saved; the same command goes on\n"
    (here,), (there,) = (re.findall(sentence, end.err) for end in ends)
    assert here == there and saved_steps(tmp_path) == [int(here.replace(",", ""))]
    assert not any(end.errors for end in ends), ends
