"""Two processes of four devices, one of eight and one of one: the same run."""

import json

import numpy as np
import pytest

from mlp_core.checkpoints.save import SavedParams
from mlp_core.data.pipeline import TrainOrder
from mlp_core.run_folder.metrics import read_metrics
from tests.mlp_core.train.quadratic import settings
from tests.several_hosts.processes import ends_of, start_workers
from tests.several_hosts.worker import make_run

pytestmark = pytest.mark.slow
FSDP = {"sharding.layout": "fsdp"}
TENSOR = {"sharding.layout": "fsdp+tensor", "sharding.model_parallel": 2}
STEPS, BATCH, EXAMPLES, EVALUATIONS = 12, 8, 56, 4
ORDER = TrainOrder(EXAMPLES, BATCH, settings().seed)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folders of the runs; two processes are started once for all."""
    # Orbax would not take this path literally.
    folder = tmp_path_factory.mktemp("several_hosts") / "hosts[2]\\x"
    eight_before_two = make_run(folder / "8_then_2x4", TENSOR, stops_at=6)[0]
    two = start_workers(
        2,
        4,
        {"workdir": str(folder / "2x4")},
        {"workdir": str(folder / "2x4_then_8"), "changes": FSDP, "stops_at": 6},
        {"workdir": str(folder / "8_then_2x4"), "changes": FSDP},
    )
    one = start_workers(1, 1, {"workdir": str(folder / "1x1")})
    eight = make_run(folder / "1x8")
    ends = ends_of(two + one)
    assert [end.status for end in ends] == [0, 0, 0], "\n".join(end.err for end in ends)
    eight_after_two = make_run(folder / "2x4_then_8", TENSOR)[0]
    return folder, ends, {
        "1x8": eight, "8_before_2x4": eight_before_two, "8_after_2x4": eight_after_two
    }  # fmt: skip


def losses(folder, name):
    return {record["step"]: record[name] for record in read_metrics(folder) if name in record}


def final_params(workdir):
    return SavedParams(workdir / "checkpoints" / str(STEPS)).read()


def assert_same_run(workdir, other):
    for name in ("train/loss", "test/loss"):
        there, here = (losses(w / "metrics.jsonl", name) for w in (workdir, other))
        assert len(there) >= 4 and there == pytest.approx(here, rel=1e-5)
    there, here = final_params(workdir), final_params(other)
    assert there.keys() == here.keys() and len(there) == 3
    for name in there:
        np.testing.assert_allclose(there[name], here[name], atol=1e-5)


def read_by(workdir, host):
    read, evaluated = json.loads((workdir / f"read_by_{host}.json").read_text())
    return dict(read), evaluated


def order(first_step, steps=STEPS):
    """The example at each place of the endless order, from a step on."""
    return {
        int(place): int(index)
        for step in range(first_step, steps)
        for place, index in zip(ORDER.positions(step), ORDER.batch(step), strict=True)
    }


def test_two_processes_of_four_devices_one_of_eight_and_one_of_one_train_alike(runs):
    folder, _, _ = runs
    assert_same_run(folder / "2x4", folder / "1x8")
    assert_same_run(folder / "1x1", folder / "1x8")


def test_the_order_of_examples_is_the_same_and_each_host_reads_its_share_only(runs):
    folder, _, (here) = runs
    (first, _), (second, _) = (read_by(folder / "2x4", host) for host in range(2))
    assert len(first) == len(second) == STEPS * BATCH / 2 and not first.keys() & second.keys()
    assert first | second == read_by(folder / "1x1", 0)[0] == here["1x8"][0] == order(0)


def test_evaluation_counts_every_example_once_over_all_hosts(runs):
    folder, ends, here = runs
    shares = [read_by(folder / "2x4", host)[1] for host in range(2)]
    assert sorted(shares[0] + shares[1]) == sorted(here["1x8"][1])
    assert len(shares[0]) == len(shares[1]) == EVALUATIONS * 16 / 2  # 13, filled up to 16.
    line = "test: scored on 12 of 13 examples; 1 could not be read"
    assert [end.out.count(line) for end in ends[::2]] == [4 + 1 + 2 + 1, 4]


def test_one_host_speaks_and_writes_for_all(runs):
    folder, ends, _ = runs
    assert "Devices: 8 x cpu" in ends[0].out and "on 2 host(s)" in ends[0].out
    assert "step" not in ends[1].out and "Devices" not in ends[1].out
    steps = [r["step"] for r in read_metrics(folder / "2x4" / "metrics.jsonl") if "train/loss" in r]
    assert steps == [2, 4, 6, 8, 10, 12]


@pytest.mark.parametrize("name", ["2x4_then_8", "8_then_2x4"])
def test_a_run_goes_on_with_another_number_of_hosts_and_another_sharding(runs, name):
    folder, _, here = runs
    assert_same_run(folder / name, folder / "1x8")
    hosts = [read_by(folder / name, host)[0] for host in range(2)]
    before, after = here["8_before_2x4"], hosts[0] | hosts[1]
    if name == "2x4_then_8":
        before, after = after, here["8_after_2x4"]
    assert after == order(4)
    assert before == order(0, 6)
