"""The commands as users run them, on one host and on two."""

import pytest

from mlp_core.run_folder.metrics import read_metrics
from tests.several_hosts.processes import ends_of, free_address, start, start_pair

CONFIG = (
    *("--config=configs/mixer_digits.py:smoke", "--config.model.num_blocks=1"),
    *("--config.train.global_batch_size=64", "--config.train.duration=4 steps"),
    *("--config.schedule.warmup=0", "--config.log.every=1 steps"),
)
SPLIT = ("--config.sharding.layout=fsdp", "--config.checkpoint.every=1 steps")


@pytest.mark.slow
def test_digits_train_save_and_evaluate_split_over_two_hosts_as_on_one(tmp_path, data_dir):
    one, two = tmp_path / "one", tmp_path / "two"
    places = {"TFDS_DATA_DIR": data_dir}
    ends = ends_of(
        [
            *start_pair(["launch/main.py", *CONFIG, *SPLIT, f"--workdir={two}"], **places),
            start(["launch/main.py", *CONFIG, f"--workdir={one}"], 1, **places),
        ]
    )
    assert [end.status for end in ends] == [0, 0, 0], "\n".join(end.err for end in ends)
    assert "Done: test/top1" in ends[0].out and "Done" not in ends[1].out
    here, there = (read_metrics(workdir / "metrics.jsonl") for workdir in (one, two))
    for name in ("train/loss", "test/loss", "test/top1"):
        values = [[r[name] for r in records if name in r] for records in (here, there)]
        assert len(values[0]) > 0 and values[0] == pytest.approx(values[1], rel=1e-4)

    evaluate = ["launch/evaluate.py", *CONFIG, f"--weights={two}"]
    first, second = ends_of(start_pair(evaluate, **places))
    assert (first.status, second.status) == (0, 0), first.err + second.err
    last = [record for record in there if "test/top1" in record][-1]
    assert f"top-1 {100 * last['test/top1']:.2f} %" in first.out and "top-1" not in second.out


def test_a_sweep_refuses_several_tasks(tmp_path):
    step = {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "2", "SLURM_PROCID": "0"}
    step |= {"SLURM_STEP_NODELIST": "n1"}
    sweep = ["launch/sweep.py", *CONFIG, f"--workdir={tmp_path}"]
    (end,) = ends_of([start(sweep, 1, **step)])
    assert end.status == 2 and "works on one host, and Slurm has started several" in end.errors[0]


@pytest.mark.slow
@pytest.mark.parametrize("where", ["gce", "gke"])
def test_hosts_of_a_cloud_tpu_find_each_other(where):
    port = free_address().rpartition(":")[2]
    host = ["-m", "tests.several_hosts.tpu_host"]
    ends = ends_of([start([*host, str(i), port, where], 2, JAX_PLATFORMS="") for i in range(2)])
    assert [end.status for end in ends] == [0, 0], ends[0].err + ends[1].err
    for i in range(2):
        assert f"host {i} of 2, 4 devices" in ends[i].out
